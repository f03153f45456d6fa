package enforce

import (
	"errors"
	"time"

	"authhook/internal/policy"
)

// ErrNotHeld: the session is on a node that this enforcer cannot tell anything.
var ErrNotHeld = errors.New("no MistServer of that name is configured here")

// ChangedUser has the sessions of a user decided about again: facts of that user changed, and are read anew already.
func (e *Enforcer) ChangedUser(user string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.changed = now
	for s := range e.byUser.all(user) {
		e.reconsider(s, now)
	}
}

// ChangedCredential has the sessions decided about again that presented a credential, or come from an address.
func (e *Enforcer) ChangedCredential(hash policy.CredentialHash) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.changed = now
	for s := range e.byPresented.all(hash) {
		e.reconsider(s, now)
	}
}

// ChangedAll has every session decided about again: the catalog changed, or nobody knows what did.
func (e *Enforcer) ChangedAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.changed = now
	for _, n := range e.all {
		for _, s := range n.sessions {
			e.reconsider(s, now)
		}
	}
}

// KeysArrived has everybody asked about again who presented a JWT that could not be verified: its key may be there now.
func (e *Enforcer) KeysArrived() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, n := range e.all {
		for _, s := range n.sessions {
			switch {
			case !s.JWT.Unverified():
			case s.State == policy.SessionOpen:
				n.askLater(s.Stream)
			case s.errand == nil && (s.Reason == policy.CredentialUnknown || s.Reason == policy.Unavailable):
				s.pursue(&errand{want: unlocked, since: now, anyway: true})
				e.command(s, now)
			}
		}
	}
}

// JWTKeysChanged has the streams asked about again that somebody watches with a JWT: it may have been signed with a key that
// is no longer trusted, and only the token can tell.
func (e *Enforcer) JWTKeysChanged() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.all {
		for _, s := range n.sessions {
			if s.State == policy.SessionOpen && s.JWT != nil && !s.JWT.Unverified() {
				n.askSoon(s.Stream)
			}
		}
	}
}

// Hears says whether triggers of a node come here, although nothing can be told to it: then nobody can.
func (e *Enforcer) Hears(nodeName string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[nodeName]
	return n != nil && n.commands == nil
}

// End ends a session by hand. Its player may come back, and is decided about as anybody. [ErrNotHeld] when it is on a node
// that nothing can be told to. A session that is not known, or has ended, needs nothing.
func (e *Enforcer) End(nodeName, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[nodeName]
	if n == nil || n.commands == nil {
		return ErrNotHeld
	}
	s := n.sessions[id]
	if s == nil || s.wants() == revoked || s.wants() == dismissed {
		return nil
	}
	now := time.Now()
	s.pursue(&errand{want: dismissed, since: now})
	e.command(s, now)
	return nil
}
