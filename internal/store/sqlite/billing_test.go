package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	modernc "modernc.org/sqlite"

	"authhook/internal/store"
	"authhook/internal/store/storetest"
	"authhook/migrations"
)

func told(id string) store.BillingEvent {
	return store.BillingEvent{Provider: "stripe", ID: id, Received: time.Unix(1700000000, 0), Body: []byte(id)}
}

// storing is called with the id of each event that is being stored, where a test says so; what it returns is the error of that
// one.
var storing atomic.Pointer[func(id string) error]

func init() {
	modernc.MustRegisterScalarFunction("storing", 1, func(_ *modernc.FunctionContext, args []driver.Value) (driver.Value, error) {
		if fn := storing.Load(); fn != nil {
			return nil, (*fn)(args[0].(string))
		}
		return nil, nil
	})
}

// withStoring is a store that calls fn with the id of each event that is being stored.
func withStoring(t *testing.T, fn func(s *Store, id string) error) *Store {
	s, _ := newStore(t)
	_, err := s.conn.ExecContext(t.Context(), `CREATE TRIGGER storing BEFORE INSERT ON billing_events BEGIN SELECT storing(new.event_id); END`)
	require.NoError(t, err)
	bound := func(id string) error { return fn(s, id) }
	storing.Store(&bound)
	t.Cleanup(func() { storing.Store(nil) })
	return s
}

// TestReceiveTogether: those who wait are stored in one transaction, and one that cannot be is no harm to the others.
func TestReceiveTogether(t *testing.T) {
	s := withStoring(t, func(s *Store, id string) error {
		list, err := s.BillingEvents(t.Context(), store.EventFilter{})
		assert.NoError(t, err)
		assert.Empty(t, list, "none of them is stored without the others")
		assert.Zero(t, s.receipts.count(), "nobody waits for the next time")
		if id == "bad" {
			return errors.New("refused")
		}
		return nil
	})
	const senders = 20
	s.turn <- struct{}{} // somebody else writes
	ctx, leave := context.WithCancel(t.Context())
	var leaving, wg sync.WaitGroup
	leaving.Go(func() {
		_, err := s.ReceiveEvent(ctx, told("left"))
		assert.ErrorIs(t, err, context.Canceled)
	})
	s.receipts.until(1)
	fresh := make([]bool, senders)
	for i := range senders {
		wg.Go(func() {
			var err error
			fresh[i], err = s.ReceiveEvent(t.Context(), told(fmt.Sprint(i/2)))
			assert.NoError(t, err)
		})
	}
	wg.Go(func() {
		_, err := s.ReceiveEvent(t.Context(), told("bad"))
		assert.ErrorContains(t, err, "refused")
	})
	s.receipts.until(senders + 2)
	leave() // who has the lead
	leaving.Wait()
	<-s.turn
	wg.Wait()
	for i := 0; i < senders; i += 2 {
		require.NotEqual(t, fresh[i], fresh[i+1], "one of two of the same name")
	}
	list, err := s.BillingEvents(t.Context(), store.EventFilter{})
	require.NoError(t, err)
	require.Len(t, list, senders/2, "without who left")
	var level int
	require.NoError(t, s.conn.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&level))
	require.Equal(t, 2, level, "FULL: on the disk before it is acknowledged")

	require.NoError(t, s.Close())
	_, err = s.ReceiveEvent(t.Context(), told("late"))
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Empty(t, s.receipts.waiting)
}

// TestReceiveLeft: who has the lead leaves while it stores what the others wait for.
func TestReceiveLeft(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s := withStoring(t, func(*Store, string) error { leave(); return nil })
	s.turn <- struct{}{}
	var wg sync.WaitGroup
	wg.Go(func() {
		fresh, err := s.ReceiveEvent(ctx, told("first"))
		assert.NoError(t, err, "it was too late to think better of it")
		assert.True(t, fresh)
	})
	s.receipts.until(1)
	for i := range 5 {
		wg.Go(func() {
			fresh, err := s.ReceiveEvent(t.Context(), told(fmt.Sprint(i)))
			assert.NoError(t, err)
			assert.True(t, fresh)
		})
	}
	s.receipts.until(6)
	<-s.turn
	wg.Wait()
}

// TestReceiveBroken: where the machine fails, nobody is told that anything was stored, or that they had left.
func TestReceiveBroken(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s := withStoring(t, func(*Store, string) error { leave(); return nil })
	_, err := s.conn.ExecContext(t.Context(), `PRAGMA max_page_count = 1`) // a full disk
	require.NoError(t, err)
	s.turn <- struct{}{}
	var wg sync.WaitGroup
	receive := func(ctx context.Context, id string) {
		wg.Go(func() {
			e := told(id)
			e.Body = make([]byte, store.MaxBody)
			fresh, err := s.ReceiveEvent(ctx, e)
			assert.ErrorIs(t, err, store.ErrUnavailable)
			assert.False(t, fresh)
		})
	}
	receive(ctx, "first")
	s.receipts.until(1)
	for i := range 4 {
		receive(t.Context(), fmt.Sprint(i))
	}
	s.receipts.until(5)
	<-s.turn
	wg.Wait()
	list, err := s.BillingEvents(t.Context(), store.EventFilter{})
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = s.conn.ExecContext(t.Context(), `PRAGMA max_page_count = 1000000`)
	require.NoError(t, err)
	fresh, err := s.ReceiveEvent(t.Context(), told("0"))
	require.NoError(t, err)
	require.True(t, fresh)
}

func (r *receipts) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// until waits for as many to wait.
func (r *receipts) until(n int) {
	for r.count() != n {
		runtime.Gosched()
	}
}

// TestPlans: what is asked for often is read from an index, in its order.
func TestPlans(t *testing.T) {
	s, _ := newStore(t)
	for text, index := range map[string]string{
		sqlDueEvents:           "billing_events_due",
		sqlEventsOfStateUp:     "billing_events_state",
		sqlEventsOfStateDown:   "billing_events_state",
		sqlEventsOfUserUp:      "billing_events_user",
		sqlEventsOfUserDown:    "billing_events_user",
		sqlEvents:              "INTEGER PRIMARY KEY",
		sqlLatestEvents:        "INTEGER PRIMARY KEY",
		sqlCountEvents:         "COVERING INDEX billing_events_state",
		sqlPruneBodies:         "billing_events_body",
		sqlAccountUnlinked:     "billing_events_account",
		sqlMergeEvents:         "billing_events_account",
		sqlMergeNames:          "billing_names_account",
		sqlMergeRecords:        "billing_records_account",
		sqlAccountEntitlements: "entitlements_origin",
		sqlAccountHolds:        "holds_origin",
	} {
		var plan string
		var a, b, c any
		var step string
		rows, err := s.conn.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+text, make([]any, 9)...)
		require.NoError(t, each(rows, err, []any{&a, &b, &c, &step}, func() error { plan += step + "\n"; return nil }), text)
		require.Contains(t, plan, index, text)
		require.NotContains(t, plan, "SCAN billing_events\n", text)
		if text != sqlAccountEntitlements && text != sqlAccountHolds {
			require.NotContains(t, plan, "TEMP B-TREE", text)
		}
	}
}

// TestUpgradeBilling: a database from before billing events.
func TestUpgradeBilling(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	defer s.Close()
	s.Now = func() time.Time { return time.Unix(1700000000, 0) }
	old := storetest.UntilMigration(t, migrations.SQLite, "0003_lives.up.sql")
	require.NoError(t, migrations.Apply(t.Context(), s.conn, migrations.SQLiteDialect, old))
	storetest.UpgradeFrom3(t, s, "1700000000000000", func(text string) {
		_, err := s.conn.ExecContext(t.Context(), text)
		require.NoError(t, err)
	})
}

// BenchmarkReceive beside an insert into a table of the same columns, a transaction each, on the disk as well.
func BenchmarkReceive(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bare.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	require.NoError(b, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(b.Context(), `CREATE TABLE bare (number integer PRIMARY KEY, provider text, event_id text, type text,
		provider_at integer, received_at integer, state text, reason text, tries integer, next_at integer, applied_at integer, user_id text,
		subject text, account integer, body blob)`)
	require.NoError(b, err)
	insert, err := db.PrepareContext(b.Context(), `INSERT INTO bare (provider, event_id, type, provider_at, received_at, state, reason, tries,
		next_at, user_id, subject, body) VALUES (?1, ?2, ?3, ?4, ?5, 'received', '', 0, ?5, '', '', ?6)`)
	require.NoError(b, err)
	defer insert.Close()
	open := func(b testing.TB) storetest.Open {
		path := filepath.Join(b.TempDir(), "authhook.db")
		return func(b testing.TB, now func() time.Time) storetest.Store {
			s, err := Open(b.Context(), path)
			require.NoError(b, err)
			s.Now = now
			return s
		}
	}
	storetest.BenchReceive(b, open, func(ctx context.Context, e store.BillingEvent) error {
		_, err := insert.ExecContext(ctx, e.Provider, e.ID, e.Type, micros(e.At), micros(e.Received), e.Body)
		return err
	})
}
