package gate

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
)

// patience is how long something may take that is sure to happen.
const patience = 30 * time.Second

// behind is a driver with its gates before it: what these do not have is the driver's own.
type behind struct {
	*Decisions
	driver
}

type driver struct{ storetest.Store }

// What drivers must do for decisions, they do behind gates.
func TestBehindAGateAsBefore(t *testing.T) {
	for name, database := range map[string]func(testing.TB) storetest.Open{
		"sqlite": func(t testing.TB) storetest.Open {
			path := filepath.Join(t.TempDir(), "authhook.db")
			return func(t testing.TB, now func() time.Time) storetest.Store {
				s, err := sqlite.Open(t.Context(), path)
				require.NoError(t, err)
				s.Now = now
				return &behind{New(s, Options{Wait: patience}), driver{s}}
			}
		},
		"postgres": func(t testing.TB) storetest.Open {
			url := storetest.PostgresSchema(t)
			return func(t testing.TB, now func() time.Time) storetest.Store {
				s, err := postgres.Open(t.Context(), url)
				require.NoError(t, err)
				s.SetClock(now)
				return &behind{New(s, Options{Wait: patience}), driver{s}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, database, "LeasesRace", "Previews")
		})
	}
}

// What is read is what the database said.
func TestFactsAreTheDatabases(t *testing.T) {
	t.Parallel()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	_, _, err = s.PutUser(t.Context(), store.UserChange{ID: "anna", Status: policy.ActiveUser})
	require.NoError(t, err)
	hash := policy.HashKey("ak_1")
	_, err = s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialKey, User: "anna"}, time.Now())
	require.NoError(t, err)
	wantCredential, wantUser, wantLast, err := s.FactsByCredentialAsOf(t.Context(), hash)
	require.NoError(t, err)
	d := New(s, Options{})

	credential, user, err := d.FactsByCredential(t.Context(), hash)
	require.NoError(t, err)
	require.Equal(t, wantCredential, credential)
	require.Equal(t, wantUser, user)
	credential, user, last, err := d.FactsByCredentialAsOf(t.Context(), hash)
	require.NoError(t, err)
	require.Equal(t, wantCredential, credential)
	require.Equal(t, wantUser, user)
	require.Equal(t, wantLast, last)
	user, err = d.FactsByUser(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, wantUser, user)
	user, last, err = d.FactsByUserAsOf(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, wantUser, user)
	require.Equal(t, wantLast, last)
}

// calls are one of each, as decisions make them.
func (d *Decisions) calls() (reading, writing map[string]func(context.Context) error) {
	at := time.Now()
	lease := policy.Lease{User: "anna", Plan: "gold", Node: "mist", Session: "1", At: at, Until: at.Add(time.Hour)}
	reading = map[string]func(context.Context) error{
		"FactsByCredential": func(ctx context.Context) error {
			_, _, err := d.FactsByCredential(ctx, policy.HashKey("ak_1"))
			return err
		},
		"FactsByUser": func(ctx context.Context) error { _, err := d.FactsByUser(ctx, "anna"); return err },
		"FactsByCredentialAsOf": func(ctx context.Context) error {
			_, _, _, err := d.FactsByCredentialAsOf(ctx, policy.HashKey("ak_1"))
			return err
		},
		"FactsByUserAsOf": func(ctx context.Context) error { _, _, err := d.FactsByUserAsOf(ctx, "anna"); return err },
		"CountLeases": func(ctx context.Context) error {
			_, err := d.CountLeases(ctx, "anna", "gold", "mist", "2", at)
			return err
		},
		"Reading": func(ctx context.Context) error {
			return d.Reading(ctx, func(ctx context.Context) error { _, err := d.next.FactsByUser(ctx, "anna"); return err })
		},
		"Preview": func(ctx context.Context) error { _, err := d.Preview(ctx, "user:anna", "*", at, time.Hour); return err },
	}
	writing = map[string]func(context.Context) error{
		"AcquireLease": func(ctx context.Context) error {
			_, _, err := d.AcquireLease(ctx, lease, 1, policy.OnLimitReject)
			return err
		},
		"StartPreview": func(ctx context.Context) error {
			_, err := d.StartPreview(ctx, "user:anna", "*", at, time.Hour)
			return err
		},
	}
	return reading, writing
}

// opened asks as decisions do until nothing is asked any more, and then asks once of each: none reaches the database.
func opened(t *testing.T, calls map[string]func(context.Context) error, g *gate) {
	t.Helper()
	for range g.o.FailuresToOpen {
		for name, call := range calls {
			within(t, 100*time.Millisecond, func(ctx context.Context) { require.ErrorIs(t, call(ctx), store.ErrUnavailable, name) })
		}
	}
	require.True(t, g.breaker.Open())
	refused := g.refusals(away)
	for name, call := range calls {
		require.ErrorIs(t, call(t.Context()), errAway, name)
	}
	require.EqualValues(t, len(calls), g.refusals(away)-refused)
}

func within(t *testing.T, d time.Duration, do func(context.Context)) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	do(ctx)
}

// answersAgain asks each until it is answered.
func answersAgain(t *testing.T, calls map[string]func(context.Context) error, g *gate) {
	t.Helper()
	for name, call := range calls {
		require.Eventually(t, func() bool { return call(t.Context()) == nil }, patience, 5*time.Millisecond, name)
	}
	require.False(t, g.breaker.Open())
}

// slowly is options with which no look is due for as long as a test looks at what is refused.
var slowly = Options{ProbeEvery: time.Second, Enough: 50 * time.Millisecond}

// PostgreSQL refuses, or says nothing at all.
func TestPostgresIsAway(t *testing.T) {
	t.Parallel()
	p, through := storetest.NewProxy(t, storetest.PostgresSchema(t))
	s, err := postgres.Open(t.Context(), through)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	_, _, err = s.PutUser(t.Context(), store.UserChange{ID: "anna", Status: policy.ActiveUser})
	require.NoError(t, err)
	for name, away := range map[string]struct{ begin, end func() }{
		"refuses": {p.Down, p.Up},
		"silent":  {p.Hang, func() { p.Down(); p.Up() }},
	} {
		d := New(s, slowly)
		reading, writing := d.calls()
		answersAgain(t, reading, d.reads)
		answersAgain(t, writing, d.writes)
		away.begin()
		opened(t, reading, d.reads)
		opened(t, writing, d.writes)
		asked, made := p.Counts()
		for range 100 {
			for _, call := range writing {
				require.ErrorIs(t, call(t.Context()), store.ErrUnavailable, name)
			}
		}
		askedThen, madeThen := p.Counts()
		require.LessOrEqual(t, askedThen-asked+madeThen-made, 4, "%s: looks, and no more", name)
		within(t, 100*time.Millisecond, func(ctx context.Context) {
			require.ErrorIs(t, s.Ping(ctx), store.ErrUnavailable, "%s: others than decisions still ask", name)
		})
		away.end()
		answersAgain(t, reading, d.reads)
		answersAgain(t, writing, d.writes)
		granted, _, err := d.AcquireLease(t.Context(), policy.Lease{User: "anna", Plan: "gold", Node: "mist", Session: "2",
			At: time.Now(), Until: time.Now().Add(time.Hour)}, 1, policy.OnLimitReject)
		require.NoError(t, err)
		require.False(t, granted, "%s: the limit stands", name)
	}
}

// Another process writes to the file and does not end: what only reads goes on.
func TestSQLiteIsLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "authhook.db")
	s, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	d := New(s, slowly)
	reading, writing := d.calls()
	answersAgain(t, writing, d.writes)

	other, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	holds, err := other.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, holds.Close()) })
	for range 2 {
		_, err = holds.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
		require.NoError(t, err)
		opened(t, writing, d.writes)
		for name, call := range reading {
			require.NoError(t, call(t.Context()), name)
		}
		_, err = holds.ExecContext(t.Context(), "ROLLBACK")
		require.NoError(t, err)
		_, err = d.RenewLeases(t.Context(), "mist", []policy.Place{{User: "anna", Session: "1"}}, time.Now().Add(time.Hour))
		require.NoError(t, err, "places that are held are renewed though the gate be shut")
		require.False(t, d.writes.breaker.Open(), "and show that the database answers")
		answersAgain(t, writing, d.writes)
	}
}
