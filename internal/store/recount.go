package store

import (
	"maps"
	"slices"
)

// Recounted gathers, over a batch, the users whose facts are others than before by what became of their sessions: how much
// was watched, or which sessions run. It gathers those whom a quota can concern: nobody asks for the others' usage, and a
// batch of their sessions leaves nothing in the change feed.
type Recounted struct{ users map[string]struct{} }

// Add takes in what became of a session.
func (r *Recounted) Add(f *Folded) {
	now := f.Row.running()
	if now.user != f.was.user || !now.from.Equal(f.was.from) {
		r.add(now.user)
		r.add(f.was.user)
	}
	if f.Row.CountsFrom.IsZero() {
		return
	}
	for _, u := range f.Watched {
		r.add(u.User)
	}
}

func (r *Recounted) add(user string) {
	if user == "" {
		return
	}
	if r.users == nil {
		r.users = make(map[string]struct{})
	}
	r.users[user] = struct{}{}
}

// Users are those that were gathered, in order.
func (r *Recounted) Users() []string {
	return slices.Sorted(maps.Keys(r.users))
}

// Changes are the entries that tell of them in the change feed.
func (r *Recounted) Changes() []Change {
	var list []Change
	for _, user := range r.Users() {
		list = append(list, Change{Kind: ChangeUser, Subject: user})
	}
	return list
}
