package redis

import (
	"context"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// How a preview's beginning from Redis is known to be right.
//
// Once a preview began it began then, whatever comes: until it is over, and the next one may begin, the database answers
// each ask with the same moment. So what it answered can be kept, and is never outdated by a change; that it answered
// nothing is not kept. A value is used if and only if
//
//   - it began within the time asked about, as the database would say of its row. A catalog that changes that time
//     changes nothing about when a preview began;
//   - it began no more than [previewSlack] ahead of this machine's clock;
//   - it was written by a process that knew the database's change feed as it is known here: the value carries the last
//     entry's number and mark, as facts do (history.go). So another database's previews are not taken for this one's,
//     nor those of a course of its history that is over.
//
// Whatever is refused is asked of the database, where two that begin at once meet, and written anew. Redis never begins a
// preview.
//
// What begins while Redis cannot be written to, or by a process that does not know where the feed stands, is not written, so an
// earlier value may stay. It counts again where a catalog makes the time longer than it was then. That too can only shorten.
//
// A database that was restored may lack the row. Then the value is of a preview that did begin, so it ends before the one
// that the database would begin now: it can only shorten. What the marks do not tell apart are a database and its copy, as
// long as neither has an entry in its feed that the other has not: give the copy a Redis database of its own.

// previewSlack is how far another machine's clock may be ahead of this one's. Beyond it the database says what holds.
const previewSlack = 10 * time.Second

// preview is when one began.
type preview struct {
	key   string
	began time.Time
	// standsFor is how long it is until the next one may begin.
	standsFor time.Duration
}

// Previews is a [policy.Previews] that looks in Redis first for what another knows, and leaves there what that answers.
// Its errors are the other's. Its methods may be called by many at once.
type Previews struct {
	next  policy.Previews
	facts *Facts
}

var _ policy.Previews = (*Previews)(nil)

// NewPreviews is what next knows of previews, shared through the Redis of the facts, and as long as these. Next is of the
// same database.
func NewPreviews(next policy.Previews, facts *Facts) *Previews { return &Previews{next, facts} }

// StartPreview implements [policy.Previews].
func (p *Previews) StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	return p.ask(ctx, p.next.StartPreview, viewer, match, now, every)
}

// Preview implements [policy.Previews].
func (p *Previews) Preview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	return p.ask(ctx, p.next.Preview, viewer, match, now, every)
}

type askPreview func(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error)

func (p *Previews) ask(ctx context.Context, next askPreview, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	if store.CheckPreview(viewer, match) != nil {
		return next(ctx, viewer, match, now, every) // which says what is wrong
	}
	key := previewKey(viewer, match)
	began, found := p.find(ctx, key, now, every)
	if found.verdict == usable {
		return began, nil
	}
	readAt, asOf := time.Now(), p.facts.history.end()
	began, err := next(ctx, viewer, match, now, every)
	if err == nil && stands(began, now, every) {
		p.facts.writer.put(&value{asOf: asOf, readAt: readAt, refused: found.header,
			preview: &preview{key: key, began: began, standsFor: began.Add(every).Sub(now)}})
	}
	return began, err
}

func (p *Previews) find(ctx context.Context, key string, now time.Time, every time.Duration) (began time.Time, found found) {
	defer func() { p.facts.o.Metrics.lookedForPreview(found.verdict) }()
	at, document, found := p.facts.look(ctx, key)
	if found.verdict != usable {
		return time.Time{}, found
	}
	began, err := decodeBegan(document)
	switch {
	case err != nil:
		found.verdict = unreadable
	case !p.facts.history.knows(at):
		found.verdict = unverified
	case !stands(began, now, every):
		found.verdict = outdated
	}
	return began, found
}

// stands says whether a preview that began at a moment is the one that an ask is about.
func stands(began, now time.Time, every time.Duration) bool {
	return began.After(now.Add(-every)) && !began.After(now.Add(previewSlack))
}
