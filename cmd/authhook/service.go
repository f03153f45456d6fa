package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"authhook/internal/billing"
	"authhook/internal/credential"
	"authhook/internal/enforce"
	"authhook/internal/mist/api"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/cache"
	"authhook/internal/store/feed"
	"authhook/internal/webhook"
)

// serviceSettings are what serve runs with, all checked.
type serviceSettings struct {
	database         func(context.Context) (database, error) // opens it
	catalog          *policy.Catalog                         // to be applied at the start; nil: the one in the database holds
	listen           string
	socket           string
	socketMode       os.FileMode
	triggerKey       string
	adminToken       string
	allowUnavailable bool
	node             string
	sessionMode      *int
	keepSessions     time.Duration
	keepEvents       time.Duration
	providers        providers
	factsFresh       time.Duration
	factsStale       time.Duration
	factsEntries     int
	mist             []mistSetting
	redisURL         string // empty: none
}

// service is authhook at work.
type service struct {
	settings *serviceSettings
	log      *slog.Logger
	db       database
	shared   *shared // nil without Redis
	cache    *cache.Cache
	decider  *policy.Decider
	enforcer *enforce.Enforcer
	mist     []*api.Client
	follower *feed.Follower
	metrics  *webhook.Metrics
	receiver *billing.Receiver
	applier  *billing.Applier
	inbox    inboxMetrics
	loading  sync.Mutex       // one catalog is put in force after the other
	jwts     *credential.JWTs // of the catalog in force
	reload   chan struct{}    // holds a token while the catalog is to be read again
	ready    atomic.Bool

	keysUnusable    atomic.Bool // the catalog's JWT keys
	catalogFailures atomic.Uint64
}

// notifier is a database that says when others have written to the change feed, where that can be heard: a hint, so that it
// is read at once.
type notifier interface {
	Listen(ctx context.Context, wake func(), log *slog.Logger) error
}

const (
	// shutdownTime is what requests under way are given to end.
	shutdownTime = 5 * time.Second
	// loadTimeout bounds one read of facts and loadWait the wait for its turn, so that a decision, which waits for 4 s in
	// all, ends before authhook-trigger and MistServer have given up (4.5 s and 5 s). They are long: a database that is slow, as
	// when all come at once, is worth waiting for, and before one that does not answer package gate keeps nobody waiting.
	loadTimeout = 2500 * time.Millisecond
	loadWait    = time.Second
	// catalogRetry is how long it is until a catalog that could not be read is tried again.
	catalogRetry = time.Second
)

// serve runs until the context ends, or until something fails that cannot be waited out. What was answered is written
// before it returns: the writer of sessions ends after those who feed it.
func serve(ctx context.Context, cfg *serviceSettings, out io.Writer, log *slog.Logger) (err error) {
	listener, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return wrongSetting("--listen: %s", err)
	}
	defer func() { _ = listener.Close() }()
	var socket net.Listener
	if cfg.socket != "" {
		if socket, err = webhook.ListenSocket(ctx, cfg.socket, cfg.socketMode); err != nil {
			return wrongSetting("--socket: %s", err)
		}
		defer func() { _ = socket.Close() }()
	}
	db, err := cfg.database(ctx)
	if err != nil {
		return err
	}
	s, err := newService(cfg, db, log)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if cfg.catalog != nil { // it is known before the database says anything
		s.useCatalog(cfg.catalog)
	}

	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	written := make(chan error, 1)
	go func() { written <- s.enforcer.Writer().Run(writing) }()

	triggers := webhook.NewTriggers(s.decider, s.enforcer, s.metrics, log,
		webhook.TriggerOptions{Node: cfg.node, SessionMode: cfg.sessionMode})
	contract, err := s.api(triggers)
	if err != nil {
		return err
	}
	server := webhook.NewServer(webhook.NewHandler(triggers, s.metrics, webhook.HandlerOptions{
		TriggerKey: cfg.triggerKey, Ready: s.readiness, API: contract,
		Billing: webhook.NewBilling(s.receiver, s.metrics, log, webhook.BillingOptions{Providers: names(cfg.providers.served)}),
	}), log)
	log.Info("listening", "address", listener.Addr().String(), "billing", names(cfg.providers.served))
	group, ctx := errgroup.WithContext(ctx)
	webhook.RaiseStacks(ctx.Done())
	group.Go(func() error { return serveHTTP(ctx, server, listener) })
	if socket != nil {
		group.Go(func() error { return triggers.ServeSocket(ctx, socket) })
	}
	group.Go(func() error {
		if err := s.bringUp(ctx); err != nil {
			return err
		}
		writeWelcome(out, cfg, listener.Addr().String())
		group.Go(func() error { return s.keepCatalog(ctx) })
		group.Go(func() error { return s.enforcer.Run(ctx, s.decider) })
		group.Go(func() error { return s.applier.Run(ctx) })
		if s.shared != nil {
			group.Go(func() error { return s.shared.hint.Run(ctx, s.follower.Wake) })
		}
		if db, ok := s.db.(notifier); ok {
			group.Go(func() error { return db.Listen(ctx, s.follower.Wake, log) })
		}
		group.Go(func() error {
			s.keepCounted(ctx)
			return nil
		})
		group.Go(func() error {
			keepPruned(ctx, s.shared.pruner(s.db), keptFor{cfg.keepSessions, cfg.keepEvents, s.decider.LongestPreview}, log)
			return nil
		})
		return s.follower.Run(ctx)
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	stopWriting()
	return errors.Join(err, <-written)
}

func newService(cfg *serviceSettings, db database, log *slog.Logger) (*service, error) {
	s := &service{settings: cfg, log: log, db: db, metrics: webhook.NewMetrics(), reload: make(chan struct{}, 1)}
	stale := cfg.factsStale
	if stale == 0 {
		stale = -1 // the cache's word for no older at all
	}
	asked := newGated(s.db, s.metrics.Registry(), log)
	var facts policy.Source = asked
	var previews policy.Previews = asked
	if cfg.redisURL != "" {
		caughtUp := func() time.Time { return s.follower.CaughtUp() }
		var err error
		if s.shared, err = newShared(cfg.redisURL, asked, caughtUp, s.metrics.Registry(), log); err != nil {
			return nil, err
		}
		facts, previews = s.shared.facts, s.shared.previews
	}
	s.cache = cache.New(facts, cache.Options{
		MaxEntries: cfg.factsEntries, FreshFor: cfg.factsFresh, StaleFor: stale, LoadTimeout: loadTimeout, LoadWait: loadWait,
	})
	nodes := make([]enforce.Node, len(cfg.mist))
	for i, m := range cfg.mist {
		client, err := m.open()
		if err != nil {
			return nil, err
		}
		nodes[i] = enforce.Node{Name: m.name, API: client}
		s.mist = append(s.mist, client)
	}
	held := enforce.NewMetrics()
	s.enforcer = enforce.NewEnforcer(s.shared.sessions(asked), enforce.Options{Nodes: nodes, DefaultNode: cfg.node, Log: log, Metrics: held})
	held.Register(s.metrics.Registry())
	s.decider = policy.NewDecider(s.cache, s.enforcer.Places(), previews, policy.Options{AllowUnavailable: cfg.allowUnavailable})
	s.follower = feed.New(s.db, feed.Latest, feed.Options{Log: log}, s.changed, s.lostTrack)
	s.observe()
	s.takeBilling()
	return s, nil
}

func (s *service) close() error {
	s.cache.Close()
	err := s.shared.close()
	for _, client := range s.mist {
		_ = client.Close()
	}
	if s.jwts != nil {
		s.jwts.Close()
	}
	return errors.Join(err, s.db.Close())
}

// bringUp makes the database ready and puts the catalog in force, as soon as the database lets it. Until then every
// decision is "unavailable".
func (s *service) bringUp(ctx context.Context) error {
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.tryBringUp(ctx)
		if err == nil {
			s.ready.Store(true)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		s.log.Warn("the database is not there yet, will try again", "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait + rand.N(wait/4)):
		}
	}
}

func (s *service) tryBringUp(ctx context.Context) error {
	if err := s.db.Migrate(ctx); err != nil {
		return err
	}
	if s.settings.catalog != nil {
		if _, _, err := s.db.ApplyCatalog(ctx, s.settings.catalog, nil); err != nil {
			return fmt.Errorf("apply the catalog: %w", err)
		}
	}
	return s.loadCatalog(ctx)
}

// loadCatalog puts the catalog of the database in force. None at all is no error: then nothing is known, and every
// decision says so.
func (s *service) loadCatalog(ctx context.Context) (err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	defer func() {
		if err != nil {
			s.catalogFailures.Add(1)
		}
	}()
	c, err := s.db.Catalog(ctx)
	if errors.Is(err, store.ErrNotFound) {
		s.log.Warn("no catalog is applied: every stream is unknown until 'authhook apply -f catalog.yaml'")
		c = &policy.Catalog{}
		c.Index()
	} else if err != nil {
		return fmt.Errorf("read the catalog: %w", err)
	} else if stands := s.decider.Catalog(); stands != nil && stands.Version == c.Version {
		return nil
	}
	s.useCatalog(c)
	return nil
}

// useCatalog puts a catalog in force, with the keys of its JWTs. Keys that cannot be used keep no stream from being
// answered for: a JWT is then unavailable, and /readyz says so.
func (s *service) useCatalog(c *policy.Catalog) {
	defer s.enforcer.ChangedAll()
	defer s.applier.Wake() // events wait for the first one
	if was := s.decider.Catalog(); was == nil || !reflect.DeepEqual(was.JWT, c.JWT) {
		defer s.enforcer.KeysArrived()
		defer s.enforcer.JWTKeysChanged()
	}
	jwts, err := credential.NewJWTs(c.JWT, credential.Options{Log: s.log, Previous: s.jwts, Refreshed: func(r credential.Refresh) {
		if r.Added > 0 {
			s.enforcer.KeysArrived()
		}
		if r.Removed > 0 {
			s.enforcer.JWTKeysChanged()
		}
	}})
	s.keysUnusable.Store(err != nil)
	if err != nil {
		s.log.Error("the catalog's JWT keys cannot be used: no JWT is decided about", "error", err)
		s.decider.SetCatalog(c, noKeys{})
		return
	}
	s.decider.SetCatalog(c, jwts)
	if s.jwts != nil {
		s.jwts.Close()
	}
	s.jwts = jwts
}

// noKeys stands for keys that cannot be used.
type noKeys struct{}

// VerifyJWT implements policy.Verifier.
func (noKeys) VerifyJWT(string) (*policy.Credential, policy.Reason, string) {
	return nil, policy.Unavailable, "the catalog's keys cannot be used"
}

// changed acts on entries of the change feed: what they are about is read anew by whoever needs it next.
func (s *service) changed(ctx context.Context, changes []store.Change) {
	s.reread(changes)
	s.shared.tell(ctx, changes)
	if slices.ContainsFunc(changes, func(c store.Change) bool { return c.Kind == store.ChangeCatalog }) {
		s.wantCatalog()
	}
}

// reread has what changed read anew, and then the sessions that it concerns decided about again.
func (s *service) reread(changes []store.Change) {
	s.shared.changed(changes)
	s.cache.Changed(changes...)
	for _, c := range changes {
		switch c.Kind {
		case store.ChangeUser:
			s.enforcer.ChangedUser(c.Subject)
		case store.ChangeCredential:
			if hash, err := policy.ParseCredentialHash(c.Subject); err == nil {
				s.enforcer.ChangedCredential(hash)
			}
		case store.ChangeSession:
			if node, id, ok := store.ParseSessionSubject(c.Subject); ok {
				s.enforcer.ChangedSession(node, id)
			}
		case store.ChangeSessionEnd:
			if node, id, ok := store.ParseSessionSubject(c.Subject); ok {
				_ = s.enforcer.End(node, id) // a node of others is theirs to tell
			}
		}
	}
}

// lostTrack drops everything, when changes may have been missed.
func (s *service) lostTrack() {
	s.shared.lostTrack()
	s.cache.DropAll()
	s.enforcer.ChangedAll()
	s.wantCatalog()
}

func (s *service) wantCatalog() {
	select {
	case s.reload <- struct{}{}:
	default:
	}
}

// keepCatalog puts each new catalog in force. The old one holds until the new one could be read.
func (s *service) keepCatalog(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.reload:
		}
		if err := s.loadCatalog(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("the new catalog is not in force, will try again", "error", err)
			time.AfterFunc(catalogRetry, s.wantCatalog)
		}
	}
}

// readiness is what keeps the service from deciding; empty when nothing does.
func (s *service) readiness(ctx context.Context) map[string]string {
	missing := map[string]string{}
	if !s.ready.Load() {
		missing["catalog"] = "not read yet"
	}
	if s.keysUnusable.Load() {
		missing["jwt"] = "the catalog's keys cannot be used"
	}
	if s.enforcer.Writer().Failing() {
		missing["sessions"] = "cannot be written"
	}
	if err := s.db.Ping(ctx); err != nil {
		missing["database"] = "does not answer"
	}
	return missing
}

// silentConnections are those that have sent nothing yet, such as browsers keep ready: they would hold up the shutdown.
type silentConnections struct {
	mu   sync.Mutex // three times for each connection: a sync.Map would cost more
	open map[net.Conn]struct{}
}

// note is an [http.Server.ConnState].
func (s *silentConnections) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.open[c] = struct{}{}
	} else {
		delete(s.open, c)
	}
}

func (s *silentConnections) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func serveHTTP(ctx context.Context, server *http.Server, listener net.Listener) error {
	silent := silentConnections{open: map[net.Conn]struct{}{}}
	server.ConnState = silent.note
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	silent.close()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err := server.Shutdown(last)
	<-done
	return err
}
