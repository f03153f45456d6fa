package redis

import (
	"context"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// found is what was found under a key.
type found struct {
	verdict verdict
	// header is the header of a value that is not usable, for replacing that very value.
	header string
}

func (f *Facts) findCredential(ctx context.Context, hash policy.CredentialHash) (credential *policy.Credential, found found) {
	defer func() { f.o.Metrics.looked(found.verdict) }()
	at, document, found := f.find(ctx, credentialKey(hash))
	if found.verdict != usable {
		return nil, found
	}
	credential, err := decodeCredential(document)
	if err != nil {
		found.verdict = unreadable
	} else {
		found.verdict = f.history.judge(aboutCredential(hash), at)
	}
	return credential, found
}

func (f *Facts) findUser(ctx context.Context, user string) (facts *policy.UserFacts, found found) {
	defer func() { f.o.Metrics.looked(found.verdict) }()
	if store.CheckUserID(user) != nil { // a JWT may name anyone; there is no such user
		found.verdict = unasked
		return nil, found
	}
	at, document, found := f.find(ctx, userKey(user))
	if found.verdict != usable {
		return nil, found
	}
	facts, err := decodeUser(document, user)
	switch {
	case err != nil:
		found.verdict = unreadable
	case !facts.UsedMonth.Equal(store.MonthOf(f.o.Now())):
		// The clock of who wrote it is in another month, and so is its usage: of a month before that of the facts, a decision
		// would take it that nothing was used.
		found.verdict = outdated
	default:
		found.verdict = f.history.judge(aboutUser(user), at)
	}
	return facts, found
}

// find is the value under a key, not yet judged: nothing where changes may have been missed.
func (f *Facts) find(ctx context.Context, key string) (asOf, []byte, found) {
	if caughtUp := f.o.CaughtUp(); caughtUp.IsZero() || time.Since(caughtUp) >= MaxBehind {
		return asOf{}, nil, found{verdict: unasked}
	}
	return f.look(ctx, key)
}

// look is the value under a key, not yet judged: nothing where it could not be.
func (f *Facts) look(ctx context.Context, key string) (asOf, []byte, found) {
	if !f.history.ready() {
		return asOf{}, nil, found{verdict: unasked}
	}
	var b []byte
	err := f.server.call(ctx, func(ctx context.Context) (err error) {
		// A range, so that whatever lies there, not more than that is sent: what is longer is cut, and unreadable.
		b, err = f.server.client.GetRange(ctx, key, 0, maxValue).Bytes()
		return err
	})
	switch {
	case err != nil && causeOf(err) == causeType && err != errOpen:
		return asOf{}, nil, found{verdict: unreadable}
	case err != nil:
		return asOf{}, nil, found{verdict: unasked}
	case len(b) == 0:
		return asOf{}, nil, found{verdict: missing}
	}
	refused := found{verdict: unreadable, header: string(b[:min(len(b), headerSize)])}
	at, err := parseHeader(b)
	if err != nil {
		return asOf{}, nil, refused
	}
	refused.verdict = usable
	return at, b[headerSize:], refused
}
