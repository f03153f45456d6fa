package redis

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// How a value from Redis is known to be right.
//
// Facts are read from the database together with the last entry of the change feed at that very moment, and a value
// carries that entry's number and its mark: a hash of its number, moment, kind and subject. A process keeps the end of
// the feed, as its follower tells it, without a hole: numbers, marks, and which subject each was about. It uses a value
// if and only if
//
//   - the value's number is among those that it keeps, and has the same mark: the value comes from this database, from
//     this course of its history, and every later change is known here;
//   - no change of the value's subject has a higher number, nor has one that could be about anybody: the catalog's (by
//     which usage begins to count), or one of a kind that this version does not know;
//   - the follower has reached the feed's end a short while ago ([Options.CaughtUp]).
//
// So it is of no consequence who wrote a value, when, how slowly, after what, or whether Redis was restored from an old
// snapshot meanwhile: an old value is right where nothing changed since, and refused where something did. A database that
// was restored, failed over with the last commits lost, or copied for a test writes other entries under the numbers that
// it gives out again, so their marks differ: values of the lost course are refused. The same goes for another database
// that uses the same Redis, which is why keys hold no id of the database: two of them are right, and only keep
// pushing each other's values out.
//
// Where the history begins. After a start, and after [Facts.DropAll], nothing is known. The first load from the database
// that began afterwards sets the beginning: it says which entry is the last. It may not, when the follower told of a
// higher number meanwhile: the entries between would be missing. Until then nothing from Redis is used. From there the
// feed is read backwards, as far as values may be old (lookback.go), so that a new replica finds what the others wrote.
//
// A load that shows an entry other than the one that is known, or a number lower than what was known when it began,
// contradicts the history: it is forgotten, and begins anew.

// rememberedChanges is how many entries of the feed are kept, of some 40 bytes each. Values from before them are refused.
const rememberedChanges = 1 << 16

// asOf is the moment of facts, as an entry of the change feed: zero where that is not known.
type asOf struct {
	number int64
	mark   uint64
}

// entryAsOf is the moment at which an entry was the feed's last.
func entryAsOf(c store.Change) asOf {
	if c.Number <= 0 {
		return asOf{}
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Number))
	b = binary.BigEndian.AppendUint64(b, uint64(c.At.UnixMicro()))
	b = appendField(b, string(c.Kind))
	b = appendField(b, c.Subject)
	sum := sha256.Sum256(b)
	return asOf{c.Number, binary.BigEndian.Uint64(sum[:])}
}

// subject is what a change is about: a number for a credential or a user, chosen at random by each process. That two of
// them have the same is as if each had changed with the other.
type subject uint64

// nobody is the subject of changes that are not about facts.
const nobody subject = 0

var seed = maphash.MakeSeed()

func aboutCredential(hash policy.CredentialHash) subject {
	return subject(maphash.Bytes(seed, hash[:]) | 1)
}

func aboutUser(user string) subject {
	return subject(maphash.String(seed, user) | 1)
}

// history is the end of the change feed, as far as this process knows it.
type history struct {
	mu sync.Mutex
	// generation counts how often it was forgotten.
	generation uint64
	// heard is the highest number that the follower told of since it was forgotten.
	heard int64
	// known: the entries first to last are kept, in entries, at number modulo its length.
	known       bool
	first, last int64
	entries     []entry
	// changed is the number of the last change of each subject among them, and of everybody at once.
	changed  map[subject]int64
	everyone int64
}

type entry struct {
	mark  uint64
	about subject
}

func newHistory(size int) *history {
	return &history{entries: make([]entry, size), changed: make(map[subject]int64)}
}

// reading is what was known when a load began.
type reading struct {
	generation uint64
	heard      int64
}

// begin is called before a load begins.
func (h *history) begin() reading {
	h.mu.Lock()
	defer h.mu.Unlock()
	return reading{h.generation, h.heard}
}

// loaded takes in as of when a load read, and says whether the history begins by it.
func (h *history) loaded(r reading, at asOf) (begins bool) {
	if at.number == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case r.generation != h.generation:
	case at.number < r.heard:
		h.forget()
	case !h.known:
		if at.number >= h.heard {
			h.known, h.first, h.last = true, at.number, at.number
			h.entries[h.index(at.number)] = entry{mark: at.mark}
			return true
		}
	case at.number >= h.first && at.number <= h.last && h.entries[h.index(at.number)].mark != at.mark:
		h.forget()
	}
	return false
}

// append takes in an entry of the feed. One that is known already is none.
func (h *history) append(c store.Change) {
	at := entryAsOf(c)
	if at.number == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known {
		switch {
		case at.number > h.last+1: // some are missing
			h.forget()
		case at.number == h.last+1:
			h.add(at, c)
		case at.number >= h.first && h.entries[h.index(at.number)].mark != at.mark:
			h.forget()
		}
	}
	h.heard = max(h.heard, at.number)
}

func (h *history) add(at asOf, c store.Change) {
	if at.number-h.first == int64(len(h.entries)) {
		if about := h.entries[h.index(h.first)].about; h.changed[about] == h.first {
			delete(h.changed, about)
		}
		h.first++
	}
	h.last = at.number
	h.put(at, c)
}

// prepend takes in entries that end with the first that is kept, and says whether they do.
func (h *history) prepend(generation uint64, changes []store.Change) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := int64(len(changes))
	if generation != h.generation || !h.known || n < 2 || h.last-h.first+n > int64(len(h.entries)) {
		return false
	}
	for i, c := range changes {
		if c.Number != h.first-n+1+int64(i) {
			return false
		}
	}
	if entryAsOf(changes[n-1]).mark != h.entries[h.index(h.first)].mark {
		h.forget()
		return false
	}
	for _, c := range slices.Backward(changes) { // with the first too: so far only its mark is known
		h.put(entryAsOf(c), c)
	}
	h.first -= n - 1
	return true
}

// put keeps an entry, with what it is about.
func (h *history) put(at asOf, c store.Change) {
	e := entry{mark: at.mark, about: nobody}
	switch c.Kind {
	case store.ChangeUser:
		e.about = aboutUser(c.Subject)
	case store.ChangeCredential:
		if hash, err := policy.ParseCredentialHash(c.Subject); err == nil {
			e.about = aboutCredential(hash)
		} else {
			h.everyone = max(h.everyone, at.number) // in a form that this version does not know
		}
	case store.ChangeAPIKey, store.ChangePayment, store.ChangeSession, store.ChangeSessionEnd:
	default: // the catalog, or a kind that this version does not know
		h.everyone = max(h.everyone, at.number)
	}
	h.entries[h.index(at.number)] = e
	if e.about != nobody {
		h.changed[e.about] = max(h.changed[e.about], at.number)
	}
}

// edge is the first number that is kept, and how many more can be kept before it; 0 where nothing is known.
func (h *history) edge() (generation uint64, first, room int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return h.generation, 0, 0
	}
	return h.generation, h.first, int64(len(h.entries)) - (h.last - h.first + 1)
}

// drop forgets everything.
func (h *history) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
}

// forget is drop, for who holds mu.
func (h *history) forget() {
	h.generation++
	h.known, h.first, h.last, h.heard, h.everyone = false, 0, 0, 0, 0
	clear(h.changed)
}

// ready says whether any value could be used.
func (h *history) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// judge says whether a value about a subject, as of a moment, holds every change that is known here.
func (h *history) judge(about subject, at asOf) verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.keeps(at):
		return unverified
	case h.changed[about] > at.number, h.everyone > at.number:
		return outdated
	}
	return usable
}

// knows says whether an entry is kept: what was read as of it was read from this database, in this course of its history.
func (h *history) knows(at asOf) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keeps(at)
}

// keeps is knows, for who holds mu.
func (h *history) keeps(at asOf) bool {
	return h.known && at.number >= h.first && at.number <= h.last && h.entries[h.index(at.number)].mark == at.mark
}

// end is the last entry that is known; zero where none is.
func (h *history) end() asOf {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return asOf{}
	}
	return asOf{h.last, h.entries[h.index(h.last)].mark}
}

func (h *history) index(number int64) int64 { return number % int64(len(h.entries)) }

// verdict is what a value was found to be.
type verdict uint8

const (
	usable     verdict = iota
	missing            // there is none
	outdated           // something changed since
	unverified         // it is as of a moment that is not known here
	unreadable         // it is not of the form that this version writes
	unasked            // Redis could not be asked, or nothing from it could be used
)
