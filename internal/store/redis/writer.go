package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/policy"
)

const (
	// maxWaiting is how many values wait to be written. What comes when so many do is not written: it is read again.
	maxWaiting = 1024
	// maxBatch is how many are sent together.
	maxBatch = 64
)

// luaPut writes a value under KEYS[1], unless one as of a later moment is there: ARGV are the header that was found there
// and refused, the new value's header, the value, and how many milliseconds it is kept. What was refused is replaced
// whatever its number: it is of another database, or of a course of this one's history that is over. So is
// whatever has no such header. Numbers are below 2^53, which Lua holds exactly.
const luaPut = `local is = redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[2] - 1)
if type(is) == 'string' and is ~= ARGV[1] and #is == #ARGV[2] then
  local number = tonumber(string.sub(is, 1, 19))
  if number and number > tonumber(string.sub(ARGV[2], 1, 19)) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1`

// value is what is to be written: a credential, or that there is none under hash; a user; or when a preview began.
type value struct {
	asOf       asOf
	readAt     time.Time
	refused    string
	hash       *policy.CredentialHash
	credential *policy.Credential
	user       *policy.UserFacts
	preview    *preview
	// passed is closed when all that was put before is settled. Such a value holds nothing else.
	passed chan struct{}
}

// writer writes values aside, so that nobody waits for it.
type writer struct {
	server *server
	o      Options

	mu      sync.RWMutex // guards closed against a put
	closed  bool
	waiting chan *value
	done    chan struct{}
}

func newWriter(s *server, o Options) *writer {
	w := &writer{server: s, o: o, waiting: make(chan *value, maxWaiting), done: make(chan struct{})}
	go w.run()
	return w
}

// close writes what waits, and ends.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.waiting)
	}
	w.mu.Unlock()
	<-w.done
}

// put has a value written some time soon, if its moment is known.
func (w *writer) put(v *value) {
	if v.asOf.number == 0 && v.passed == nil {
		return
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return
	}
	select {
	case w.waiting <- v:
	default:
		w.o.Metrics.wrote(crowded)
	}
}

func (w *writer) run() {
	defer close(w.done)
	batch := make([]*value, 0, maxBatch)
	for v := range w.waiting {
		batch = append(batch[:0], v)
		for len(batch) < maxBatch {
			select {
			case v, ok := <-w.waiting:
				if ok {
					batch = append(batch, v)
					continue
				}
			default:
			}
			break
		}
		w.write(batch)
		clear(batch)
	}
}

// write writes a batch in one round trip.
func (w *writer) write(batch []*value) {
	var commands []*goredis.Cmd
	pipeline := w.server.client.Pipeline()
	ctx := w.server.closing
	for _, v := range batch {
		if v.passed != nil {
			defer close(v.passed)
			continue
		}
		key, text, ttl, err := w.encode(v)
		switch {
		case err != nil:
			w.o.Metrics.wrote(failed)
		case len(text) > maxValue:
			w.o.Metrics.wrote(tooLong)
		case ttl >= time.Millisecond:
			commands = append(commands, pipeline.Eval(ctx, luaPut, []string{key}, v.refused, text[:headerSize], text, ttl.Milliseconds()))
		}
	}
	if len(commands) == 0 {
		return
	}
	err := w.server.call(ctx, func(ctx context.Context) error {
		_, err := pipeline.Exec(ctx)
		return err
	})
	for _, c := range commands {
		switch newer, replied := c.Int(); {
		case errors.Is(err, errOpen), replied != nil:
			w.o.Metrics.wrote(failed)
		case newer == 0:
			w.o.Metrics.wrote(older)
		default:
			w.o.Metrics.wrote(written)
		}
	}
}

// encode is what is written: how long it is kept counts from when it was read.
func (w *writer) encode(v *value) (key, text string, ttl time.Duration, err error) {
	if p := v.preview; p != nil {
		return p.key, v.asOf.header() + string(encodeBegan(p.began)), p.standsFor - time.Since(v.readAt), nil
	}
	var document []byte
	exists := true
	if v.hash != nil {
		key, exists = credentialKey(*v.hash), v.credential != nil
		document, err = encodeCredential(v.credential)
	} else {
		key, exists = userKey(v.user.User), v.user.Status != ""
		document, err = encodeUser(v.user)
	}
	ttl = absentTTL
	if exists {
		ttl = w.o.TTL - rand.N(w.o.TTL/8+1) // spread, so that what was read in one burst does not go in one
	}
	return key, v.asOf.header() + string(document), ttl - time.Since(v.readAt), err
}
