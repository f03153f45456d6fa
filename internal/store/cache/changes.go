package cache

import (
	"authhook/internal/policy"
	"authhook/internal/store"
)

// How an ask after a change is kept from seeing what was read before it.
//
// Changes and the beginnings of reads are numbered in one order, under mu. A change takes a number, removes what is
// kept of its subject, and lets nobody join the subject's load any more if that has begun to read. When a load ends, it
// is held against the changes numbered after its beginning: what changed is not kept, and is handed only to those who
// asked before the read began. That comparison is made at the end because a load by credential learns only then whose
// facts it read.
//
// The changes are listed by subject only while something is being read, and at most maxListed of them: beyond that the
// loads that run count as outdated, whatever they read.
const maxListed = 4096

// ChangedUser outdates the facts of a user. It is called after the change is committed: by whoever made it, before
// answering, and by whoever follows the change feed.
func (c *Cache) ChangedUser(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users.remove(user)
	c.outdate(question{kind: byUser, user: user})
}

// ChangedCredential outdates a credential, as ChangedUser does a user. The facts of its user stay.
func (c *Cache) ChangedCredential(hash policy.CredentialHash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credentials.remove(hash)
	c.outdate(question{kind: byCredential, hash: hash})
}

// DropAll outdates everything: when it is not known what changed. It takes no longer for many entries than for few;
// what it outdates gives up its place as others come.
func (c *Cache) DropAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.dropped.Store(c.number)
	c.forgotten = c.number
	clear(c.changed)
	for q, f := range c.flights {
		if f.began != 0 {
			delete(c.flights, q)
		}
	}
}

// Changed outdates what the entries of the change feed are about. The catalog is not kept here, nor are keys of the API,
// payments and sessions.
func (c *Cache) Changed(changes ...store.Change) {
	for _, change := range changes {
		switch change.Kind {
		case store.ChangeUser:
			c.ChangedUser(change.Subject)
		case store.ChangeCredential:
			hash, err := policy.ParseCredentialHash(change.Subject)
			if err != nil {
				c.DropAll() // a subject in a form that this version does not know
				continue
			}
			c.ChangedCredential(hash)
		case store.ChangeCatalog, store.ChangeAPIKey, store.ChangePayment, store.ChangeSession, store.ChangeSessionEnd:
		default:
			c.DropAll()
		}
	}
}

// outdate numbers a change of a subject whose kept facts are gone. The caller holds mu.
func (c *Cache) outdate(subject question) {
	c.number++
	if f := c.flights[subject]; f != nil && f.began != 0 {
		delete(c.flights, subject)
	}
	if c.reading == 0 {
		return
	}
	if len(c.changed) >= maxListed {
		clear(c.changed)
		c.forgotten = c.number
		return
	}
	c.changed[subject] = c.number
}

// changedSince says whether a subject changed, or may have, after a read began. The caller holds mu.
func (c *Cache) changedSince(subject question, began uint64) bool {
	return c.forgotten > began || c.changed[subject] > began
}
