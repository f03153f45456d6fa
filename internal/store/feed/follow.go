package feed

import (
	"context"
	"errors"
	"time"

	"authhook/internal/store"
)

// catchUp reads from the position to the feed's end, in pages.
func (f *Follower) catchUp(ctx context.Context) error {
	if f.position.Load() == Latest {
		if err := f.begin(ctx); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		began := time.Now()
		after := f.position.Load()
		page, err := f.changes(ctx, after)
		if err != nil && !errors.Is(err, store.ErrFeedGap) {
			return err
		}
		switch {
		case err != nil:
			err = f.lost(ctx, err)
		case len(page) == 0:
			err = f.verify(ctx, after)
		case !follows(after, page):
			err = f.lost(ctx, errors.New("entries are missing or out of order"))
		default:
			f.handle(ctx, page)
			if ctx.Err() != nil {
				return ctx.Err() // it may have been cut short: not counted as handled
			}
			f.position.Store(page[len(page)-1].Number)
		}
		if err != nil {
			return err
		}
		f.ready()
		if len(page) < f.o.Page {
			f.caughtUp.Store(&began)
			return nil
		}
	}
	return ctx.Err()
}

// follows says whether a page is what comes right after a number. A number is given out in the transaction that the
// entry is committed in, so none is ever left out.
func follows(after int64, page []store.Change) bool {
	for i := range page {
		if page[i].Number != after+1+int64(i) {
			return false
		}
	}
	return true
}

// begin takes the feed's end as the position, then has everything dropped. In this order no change falls between: what
// changed up to the position is dropped, what changes later will be read.
func (f *Follower) begin(ctx context.Context) error {
	last, err := f.last(ctx)
	if err != nil {
		return err
	}
	f.gap()
	f.position.Store(last)
	f.verified = time.Now()
	return nil
}

// lost begins anew because changes were missed. What was kept is dropped even when the feed's end cannot be read now:
// it is known to lack something.
func (f *Follower) lost(ctx context.Context, why error) error {
	f.o.Log.Warn("changes were missed: everything is read anew", "position", f.position.Load(), "reason", why)
	f.position.Store(Latest)
	err := f.begin(ctx)
	if err != nil {
		f.gap()
	}
	return err
}

// verify looks whether a feed that has nothing after the position still reaches it.
func (f *Follower) verify(ctx context.Context, after int64) error {
	if f.failed == 0 && time.Since(f.verified) < f.o.VerifyEvery {
		return nil
	}
	last, err := f.last(ctx)
	if err != nil {
		return err
	}
	f.verified = time.Now()
	if last < after {
		return f.lost(ctx, errors.New("the feed's number went backwards"))
	}
	return nil
}

// ready closes started, once.
func (f *Follower) ready() {
	select {
	case <-f.started:
	default:
		close(f.started)
	}
}

func (f *Follower) changes(ctx context.Context, after int64) ([]store.Change, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.ReadTimeout)
	defer cancel()
	return f.reader.Changes(ctx, after, f.o.Page)
}

func (f *Follower) last(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.ReadTimeout)
	defer cancel()
	return f.reader.LastChange(ctx)
}
