package billing_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/sqlite"
)

// herald is a provider whose events say in a word what they do to their reader.
type herald struct {
	name   string
	better bool // a newer version, which nothing confuses
}

func (h *herald) Name() string { return h.name }

func (h *herald) Verify(header http.Header, _ []byte, _ time.Time) error {
	if header.Get("Seal") != "right" {
		return errors.New("a seal that says why it is wrong")
	}
	return nil
}

func (h *herald) Envelope(_ http.Header, body []byte) (billing.Envelope, error) {
	id, what, _ := strings.Cut(string(body), " ")
	switch what {
	case "has no form":
		return billing.Envelope{}, errors.New("no form at all")
	case "confuses at once":
		panic("secret " + string(body))
	case "has a long id":
		id = strings.Repeat("x", 100_000)
	}
	return billing.Envelope{ID: id, Type: what, At: begin}, nil
}

func (h *herald) Records(body []byte) ([]billing.Record, error) {
	id, what, _ := strings.Cut(string(body), " ")
	say := func(user string, at time.Time) []billing.Record {
		return []billing.Record{{
			Kind: billing.KindPayment, ID: id, User: billing.Say(begin, user),
			Payment: &billing.Payment{Succeeded: begin, Terms: billing.Say(at, billing.Terms{Plan: "gold", Amount: 999, Currency: "usd"})},
		}}
	}
	switch word, rest, _ := strings.Cut(what, " "); word {
	case "pays": // user
		return say(rest, begin), nil
	case "links": // a payment to a user's
		return []billing.Record{{Kind: billing.KindPayment, ID: id, Aliases: strings.Fields(rest)}}, nil
	case "confuses":
		if h.better {
			return say(rest, begin), nil
		}
		panic("secret " + string(body))
	case "overflows": // no JSON holds such a year
		return say(rest, begin.AddDate(9000, 0, 0)), nil
	case "is":
		return nil, billing.Ignored("it is " + rest)
	case "lacks":
		return nil, errors.New("it lacks " + rest)
	case "stretches":
		records := say(rest, begin)
		records[0].ID = strings.Repeat("x", 100_000)
		return records, nil
	}
	return nil, nil
}

// wrapped is a real store that something happens to on the way: before is called first, and its error is the answer.
type wrapped struct {
	*sqlite.Store
	before func(call string, number int64) error
	mu     sync.Mutex
	calls  []string
}

func (w *wrapped) step(call string, number int64) error {
	w.mu.Lock()
	w.calls = append(w.calls, fmt.Sprint(call, " ", number))
	w.mu.Unlock()
	if w.before == nil {
		return nil
	}
	return w.before(call, number)
}

// seen are the calls until now; they are forgotten.
func (w *wrapped) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

func (w *wrapped) ReceiveEvent(ctx context.Context, e store.BillingEvent) (bool, error) {
	if err := w.step("receive", 0); err != nil {
		return false, err
	}
	return w.Store.ReceiveEvent(ctx, e)
}

func (w *wrapped) DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error) {
	if err := w.step("due", int64(limit)); err != nil {
		return nil, err
	}
	return w.Store.DueEvents(ctx, now, limit)
}

func (w *wrapped) ApplyEvent(ctx context.Context, number int64, names []string, dry bool,
	fold func(*store.BillingAccount) (*store.BillingEffect, error)) error {
	if err := w.step("apply", number); err != nil {
		return err
	}
	return w.Store.ApplyEvent(ctx, number, names, dry, fold)
}

func (w *wrapped) FailEvent(ctx context.Context, number int64, state store.EventState, reason string, next time.Time) error {
	if err := w.step("fail", number); err != nil {
		return err
	}
	if reason != strings.ToValidUTF8(reason, "") || len(reason) > 1024 || strings.ContainsRune(reason, 0) {
		return fmt.Errorf("a reason of %d bytes that is no text", len(reason))
	}
	return w.Store.FailEvent(ctx, number, state, reason, next)
}

// office is an applier at work on a database, and what it tells.
type office struct {
	t        *testing.T
	store    *wrapped
	now      time.Time
	catalog  *policy.Catalog
	herald   *herald
	applied  atomic.Int64
	mu       sync.Mutex
	observed []string
}

func newOffice(t *testing.T) *office {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	return &office{t: t, store: &wrapped{Store: s}, now: begin, catalog: theShop(t), herald: &herald{name: "herald"}}
}

// applier makes an applier that knows these providers; the herald alone where there are none.
func (o *office) applier(providers ...billing.Provider) *billing.Applier {
	if providers == nil {
		providers = []billing.Provider{o.herald}
	}
	return billing.NewApplier(o.store, providers, billing.ApplierOptions{
		Catalog: func() *policy.Catalog { return o.catalog },
		Applied: func() { o.applied.Add(1) },
		Observe: func(provider string, state store.EventState) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.observed = append(o.observed, provider+" "+string(state))
		},
		Now: func() time.Time { return o.now }, Log: slog.New(slog.DiscardHandler),
	})
}

// gets stores events, and says what their numbers are.
func (o *office) gets(bodies ...string) (numbers []int64) {
	o.t.Helper()
	for _, body := range bodies {
		id, _, _ := strings.Cut(body, " ")
		fresh, err := o.store.Store.ReceiveEvent(o.t.Context(), store.BillingEvent{
			Provider: o.herald.name, ID: id, Received: o.now, Body: []byte(body), State: store.EventReceived})
		require.NoError(o.t, err)
		require.True(o.t, fresh)
		all, err := o.store.BillingEvents(o.t.Context(), store.EventFilter{Latest: true, Limit: 1})
		require.NoError(o.t, err)
		numbers = append(numbers, all[0].Number)
	}
	return numbers
}

func (o *office) event(number int64) store.BillingEvent {
	o.t.Helper()
	e, err := o.store.BillingEvent(o.t.Context(), number)
	require.NoError(o.t, err)
	return e
}

// passes has an applier pass, and demands that so many events were due.
func (o *office) passes(a *billing.Applier, due int) {
	o.t.Helper()
	n, err := a.Pass(o.t.Context())
	require.NoError(o.t, err)
	require.Equal(o.t, due, n)
}

// rights are how many entitlements a user has.
func (o *office) rights(user string) int {
	f, err := o.store.FactsByUser(o.t.Context(), user)
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	require.NoError(o.t, err)
	if f == nil {
		return 0
	}
	return len(f.Entitlements)
}

func TestAnEventThatIsApplied(t *testing.T) {
	o := newOffice(t)
	a := o.applier()
	n := o.gets("p1 pays anna")[0]
	o.passes(a, 1)
	e := o.event(n)
	require.Equal(t, store.EventApplied, e.State)
	require.Equal(t, "anna", e.User)
	require.Equal(t, "payment/p1", e.Subject)
	require.Equal(t, 1, o.rights("anna"))
	require.EqualValues(t, 1, o.applied.Load())
	o.passes(a, 0)
	// What says nothing new changes no facts, and has nobody look at them.
	require.NoError(t, o.store.ReplayEvent(t.Context(), n, o.now))
	o.passes(a, 1)
	require.Equal(t, store.EventStale, o.event(n).State)
	require.EqualValues(t, 1, o.applied.Load())
	require.Equal(t, []string{"herald applied", "herald stale"}, o.observed)
}

// An event that fails is tried again, each time about twice as much later, and is dead after [billing.MaxTries]. Others of the
// same user do not wait for it.
func TestAnEventThatFailsIsTriedAgain(t *testing.T) {
	o := newOffice(t)
	a := o.applier()
	bad := o.gets("p1 pays anna")[0]
	o.store.before = func(call string, number int64) error {
		if call == "apply" && number == bad {
			return errors.New("something that nobody foresaw")
		}
		return nil
	}
	others := 0
	for try := 1; try < billing.MaxTries; try++ {
		o.gets(fmt.Sprintf("q%d pays anna", try))
		o.passes(a, 2)
		others++
		e := o.event(bad)
		require.Equal(t, store.EventFailed, e.State)
		require.Equal(t, "something that nobody foresaw", e.Reason)
		require.Equal(t, try, e.Tries)
		wait := time.Second << (try - 1)
		require.WithinRange(t, e.Next, o.now.Add(wait/2), o.now.Add(wait*3/2), "after %d tries", try)
		require.Equal(t, others, o.rights("anna"))
		o.now = e.Next.Add(-time.Microsecond)
		o.passes(a, 0)
		o.now = e.Next
	}
	o.passes(a, 1)
	e := o.event(bad)
	require.Equal(t, store.EventDead, e.State)
	require.Equal(t, billing.MaxTries, e.Tries)
	require.Zero(t, e.Next)
	o.now = o.now.AddDate(1, 0, 0)
	o.passes(a, 0)
	require.Contains(t, o.observed, "herald failed")
	require.Equal(t, "herald dead", o.observed[len(o.observed)-1])

	o.store.before = nil
	require.NoError(t, o.store.ReplayEvent(t.Context(), bad, o.now))
	o.passes(a, 1)
	require.Equal(t, store.EventApplied, o.event(bad).State)
	require.Equal(t, others+1, o.rights("anna"))
}

// Those that failed together do not come back together.
func TestTriesAreSpread(t *testing.T) {
	o := newOffice(t)
	o.store.before = func(call string, _ int64) error {
		if call == "apply" {
			return errors.New("something that nobody foresaw")
		}
		return nil
	}
	moments := map[time.Time]bool{}
	var numbers []int64
	for i := range 20 {
		numbers = append(numbers, o.gets(fmt.Sprintf("p%d pays anna", i))...)
	}
	o.passes(o.applier(), 20)
	for _, n := range numbers {
		moments[o.event(n).Next] = true
	}
	require.Greater(t, len(moments), 10)
}

// What becomes of events that cannot be read or stored, and of what stands beside them: it is applied.
func TestWhatBecomesOfAnEvent(t *testing.T) {
	for body, want := range map[string]struct {
		state  store.EventState
		reason string
		tries  int
	}{
		"x is a greeting":  {store.EventIgnored, "it is a greeting", 0},
		"x says nothing":   {store.EventIgnored, "it says nothing", 0},
		"x lacks sense":    {store.EventDead, "it lacks sense", 1},
		"x confuses anna":  {store.EventFailed, "it confuses its reader", 1},
		"x overflows anna": {store.EventFailed, "it confuses its reader", 1},
		"x stretches anna": {store.EventDead, "name", 1},
	} {
		t.Run(body, func(t *testing.T) {
			o := newOffice(t)
			a := o.applier()
			n := o.gets("p pays anna", body, "q pays anna")
			o.passes(a, 3)
			e := o.event(n[1])
			require.Equal(t, want.state, e.State, e.Reason)
			require.Contains(t, e.Reason, want.reason)
			require.NotContains(t, e.Reason, "secret")
			require.Equal(t, want.tries, e.Tries)
			require.Equal(t, want.state == store.EventFailed, !e.Next.IsZero())
			require.Equal(t, 2, o.rights("anna"))
			require.Contains(t, o.observed, "herald "+string(want.state))
			require.EqualValues(t, 2, o.applied.Load())
		})
	}
}

// A reader that is better by the next try reads what confused the one before.
func TestABetterReader(t *testing.T) {
	o := newOffice(t)
	n := o.gets("x confuses anna")[0]
	o.passes(o.applier(), 1)
	o.now = o.event(n).Next
	o.herald.better = true
	o.passes(o.applier(), 1)
	require.Equal(t, store.EventApplied, o.event(n).State)
	require.Equal(t, 1, o.rights("anna"))
}

// An event of a provider that the settings lack waits for them, however long that takes.
func TestAnUnknownProvider(t *testing.T) {
	o := newOffice(t)
	n := o.gets("p1 pays anna")[0]
	other := o.applier(&herald{name: "crier"})
	for try := range 3 * billing.MaxTries {
		o.passes(other, 1)
		e := o.event(n)
		require.Equal(t, store.EventFailed, e.State)
		require.Contains(t, e.Reason, "herald")
		require.Equal(t, try+1, e.Tries)
		require.WithinRange(t, e.Next, o.now, o.now.Add(time.Hour))
		o.now = e.Next
	}
	o.passes(o.applier(), 1)
	require.Equal(t, store.EventApplied, o.event(n).State)
}

// Another applier is faster: what it did stands, and is told once.
func TestAnotherApplierIsFaster(t *testing.T) {
	for body, call := range map[string]string{"p1 pays anna": "apply", "x lacks sense": "fail"} {
		o := newOffice(t)
		n := o.gets(body)[0]
		var done atomic.Bool
		slow, fast := o.applier(), o.applier()
		o.store.before = func(c string, _ int64) error {
			if c == call && done.CompareAndSwap(false, true) {
				o.passes(fast, 1)
			}
			return nil
		}
		o.passes(slow, 1)
		e := o.event(n)
		require.NotContains(t, []store.EventState{store.EventReceived, store.EventFailed}, e.State)
		require.LessOrEqual(t, e.Tries, 1)
		require.Len(t, o.observed, 1, call)
		if call == "apply" {
			require.NotContains(t, o.store.seen(), fmt.Sprint("fail ", n), "there is nothing to note")
		}
		require.LessOrEqual(t, o.applied.Load(), int64(1))
	}
}

// While the store is away nothing is held against the events: they are due as they were.
func TestTheStoreIsAway(t *testing.T) {
	for _, call := range []string{"due", "apply", "fail"} {
		o := newOffice(t)
		a := o.applier()
		n := o.gets("x lacks sense", "p1 pays anna", "p2 pays anna", "p3 pays anna")
		o.store.before = func(c string, _ int64) error {
			if c == call {
				return fmt.Errorf("a cable: %w", store.ErrUnavailable)
			}
			return nil
		}
		_, err := a.Pass(t.Context())
		require.ErrorIs(t, err, store.ErrUnavailable, call)
		applies := slices.DeleteFunc(o.store.seen(), func(c string) bool { return !strings.HasPrefix(c, "apply") })
		if call == "apply" {
			require.Equal(t, []string{fmt.Sprint("apply ", n[1])}, applies, "the rest of the line waits")
			require.Zero(t, o.rights("anna"))
		}
		if call != "apply" {
			require.Equal(t, store.EventReceived, o.event(n[0]).State)
			require.NotContains(t, o.observed, "herald dead")
		}
		require.Zero(t, o.event(n[1]).Tries)
		o.store.before = nil
		_, err = a.Pass(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.EventDead, o.event(n[0]).State)
		require.Equal(t, 3, o.rights("anna"))
	}
}

// A pass that is ended holds nothing against the events.
func TestAPassThatEnds(t *testing.T) {
	o := newOffice(t)
	n := o.gets("p1 pays anna")[0]
	ctx, cancel := context.WithCancel(t.Context())
	o.store.before = func(call string, _ int64) error {
		if call == "apply" {
			cancel()
			return errors.New("of that, most probably")
		}
		return nil
	}
	_, err := o.applier().Pass(ctx)
	require.Error(t, err)
	e := o.event(n)
	require.Equal(t, store.EventReceived, e.State)
	require.Zero(t, e.Tries)
	require.NotContains(t, o.store.seen(), fmt.Sprint("fail ", n))
}

// Events about the same things stand in a line, in their order; lines are worked on side by side, a few of them at once.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		var bodies []string
		for i := range 3 {
			for user := range 12 {
				bodies = append(bodies, fmt.Sprintf("p%d.%d pays user%d", user, i, user))
			}
		}
		bodies = append(bodies, "z links p0.1 p1.1") // user0's and user1's are one line
		numbers := o.gets(bodies...)
		user := map[int64]string{}
		for i, n := range numbers {
			_, user[n], _ = strings.Cut(bodies[i], " pays ")
			if user[n] == "user1" || user[n] == "" {
				user[n] = "user0"
			}
		}
		gate, busy, most := make(chan struct{}), map[string]int64{}, 0
		var mu sync.Mutex
		o.store.before = func(call string, number int64) error {
			if call != "apply" {
				return nil
			}
			mu.Lock()
			assert.Greater(t, number, busy[user[number]], "in their order")
			busy[user[number]] = number
			most = max(most, len(busy))
			mu.Unlock()
			<-gate
			return nil
		}
		done := make(chan error)
		go func() {
			_, err := o.applier().Pass(t.Context())
			done <- err
		}()
		synctest.Wait()
		mu.Lock()
		assert.Len(t, busy, 8, "lines at once")
		assert.Len(t, o.store.seen(), 1+8, "one of each line")
		mu.Unlock()
		close(gate)
		require.NoError(t, <-done)
		require.Len(t, busy, 11)
		for _, n := range numbers {
			require.Contains(t, []store.EventState{store.EventApplied, store.EventStale}, o.event(n).State)
		}
		require.NoError(t, o.store.Close())
	})
}

// The inbox is looked at when somebody says so, and once a second; more than a pass is due are applied without a pause.
func TestRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		a := o.applier()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		began := time.Now()
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		o.store.seen()

		n := o.gets("p1 pays anna")[0]
		synctest.Wait()
		require.Equal(t, store.EventReceived, o.event(n).State, "nobody said so")
		for range 5 {
			a.Wake()
		}
		synctest.Wait()
		require.Equal(t, store.EventApplied, o.event(n).State)
		require.Zero(t, time.Since(began))

		n = o.gets("p2 pays anna")[0]
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, store.EventApplied, o.event(n).State)

		// While the store is away, nobody who wakes it makes it worse.
		o.store.seen()
		var away atomic.Bool
		away.Store(true)
		o.store.before = func(string, int64) error {
			if away.Load() {
				return store.ErrUnavailable
			}
			return nil
		}
		a.Wake()
		for range 50 {
			synctest.Wait()
			a.Wake()
		}
		require.LessOrEqual(t, len(o.store.seen()), 2)
		away.Store(false)
		n = o.gets("p3 pays anna")[0]
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, store.EventApplied, o.event(n).State)

		var bodies []string
		for i := range 300 {
			bodies = append(bodies, fmt.Sprintf("q%d is many", i))
		}
		began = time.Now()
		n = o.gets(bodies...)[299]
		a.Wake()
		synctest.Wait()
		require.Equal(t, store.EventIgnored, o.event(n).State)
		require.Zero(t, time.Since(began))

		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, o.store.Close())
	})
}

// A reason is text, and not long, whatever an error says.
func TestAReasonIsCut(t *testing.T) {
	o := newOffice(t)
	n := o.gets("x lacks "+strings.Repeat("€", 2000), "y lacks a\x00b\xffc")
	o.passes(o.applier(), 2)
	e := o.event(n[0])
	require.Equal(t, store.EventDead, e.State)
	require.True(t, utf8.ValidString(e.Reason))
	require.LessOrEqual(t, len(e.Reason), 1024)
	require.Contains(t, e.Reason, "it lacks €€€")
	require.Equal(t, "it lacks abc", o.event(n[1]).Reason)
}

func TestNothingIsAppliedWithoutACatalog(t *testing.T) {
	o := newOffice(t)
	n := o.gets("p1 pays anna")[0]
	known := o.catalog
	o.catalog = nil
	a := o.applier()
	o.passes(a, 0)
	require.Empty(t, o.store.seen())
	_, err := a.Try(t.Context(), n)
	require.ErrorIs(t, err, policy.ErrNoCatalog)
	o.catalog = known
	o.passes(a, 1)
	require.Equal(t, 1, o.rights("anna"))
}

// What would become of an event is told without its becoming that.
func TestTrying(t *testing.T) {
	o := newOffice(t)
	a := o.applier()
	n := o.gets("p1 pays anna", "x lacks sense", "y is a greeting")
	e, err := a.Try(t.Context(), n[0])
	require.NoError(t, err)
	require.Equal(t, store.EventApplied, e.State)
	require.Len(t, e.Add, 1)
	require.Zero(t, o.rights("anna"))
	require.Equal(t, store.EventReceived, o.event(n[0]).State)
	for i, want := range map[int]store.BillingEffect{
		1: {State: store.EventDead, Reason: "it lacks sense"}, 2: {State: store.EventIgnored, Reason: "it is a greeting"},
	} {
		e, err := a.Try(t.Context(), n[i])
		require.NoError(t, err)
		require.Equal(t, want, *e)
		require.Equal(t, store.EventReceived, o.event(n[i]).State)
	}
	_, err = a.Try(t.Context(), 999)
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Empty(t, o.observed)
	require.Zero(t, o.applied.Load())

	o.passes(a, 3)
	_, err = o.store.PruneEventBodies(t.Context(), o.now.AddDate(1, 0, 0))
	require.NoError(t, err)
	e, err = a.Try(t.Context(), n[0])
	require.NoError(t, err)
	require.Equal(t, store.BillingEffect{State: store.EventDead, Reason: "its body was dropped for its age"}, *e)
	require.Equal(t, store.EventApplied, o.event(n[0]).State)
}
