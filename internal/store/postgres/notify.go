package postgres

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// Whoever writes to the change feed also sends a notification, so that other processes read it at once. It is a hint: it
// says nothing but "look", and whoever misses it reads the feed a moment later all the same.
//
// It goes with the transaction: PostgreSQL delivers it after the commit, when the entry can be read, and drops it with a
// transaction that is rolled back. From the statement to the commit it holds a lock that every other one waits for who
// sends a notification (PostgreSQL's source, PreCommit_Notify): here that costs next to nothing, as those who write to the
// feed wait for each other anyway, from the update of its counter to the commit (BenchmarkNotify).
//
// The statement, unlike the function pg_notify, is one that no right is needed for.
const (
	sqlNotify = `NOTIFY authhook_changes`
	sqlListen = `LISTEN authhook_changes`
)

// notifyTimeout bounds what an answer waits for a notification that is sent by itself.
const notifyTimeout = 250 * time.Millisecond

// notify sends a notification of what is committed already. Where it cannot be sent, there is none.
func (s *Store) notify(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	_, _ = s.pool.Exec(ctx, sqlNotify)
}

// Listen calls wake whenever the change feed may have grown, and once after each time that it has begun to listen, since
// something may have been missed before. Wake must not wait. Listen returns nil when its context ends, and never before.
//
// It takes a connection of its own, beside the pool. Where there is none, because the server is away or what stands before
// it refuses, the log says so once, and it tries again and again. Behind a connection pooler that pools by transaction,
// wake may never be called: nothing may depend on it.
func (s *Store) Listen(ctx context.Context, wake func(), log *slog.Logger) error {
	l := &listener{
		config: s.pool.Config().ConnConfig, wake: wake, log: log,
		askEvery: 15 * time.Second, retryFrom: 100 * time.Millisecond, retryAtMost: 10 * time.Second,
	}
	l.run(ctx)
	return nil
}

// listener listens on one connection after another.
type listener struct {
	config *pgx.ConnConfig
	wake   func()
	log    *slog.Logger

	// askEvery is after how long a silence the server is asked whether it is there: a connection that is cut off is silent
	// as well.
	askEvery time.Duration
	// retryFrom is how long it is until the first new attempt; each waits twice as long as the one before, up to
	// retryAtMost. A connection that lived for longer than that begins anew.
	retryFrom, retryAtMost time.Duration

	deaf bool // the log says so
}

func (l *listener) run(ctx context.Context) {
	wait := l.retryFrom
	for {
		began := time.Now()
		err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if !l.deaf {
			l.deaf = true
			l.log.Warn("PostgreSQL's notifications are not heard, will try again: changes by others are seen when the change feed is read next",
				"error", explain(ctx, "listen for changes", err))
		}
		if time.Since(began) > l.retryAtMost {
			wait = l.retryFrom
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1)) // so that replicas do not come back all at once
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(2*wait, l.retryAtMost)
	}
}

// listen listens on one connection, for as long as it lives.
func (l *listener) listen(ctx context.Context) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	l.deaf = false
	l.log.Info("listening for changes by others")
	for {
		l.wake()
		if err := l.await(ctx, conn); err != nil {
			return err
		}
	}
}

// connect makes a connection that listens.
func (l *listener) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config := l.config.Copy()
	config.OnNotification = nil // here they are waited for
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, sqlListen, pgx.QueryExecModeSimpleProtocol); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// await waits for a notification.
func (l *listener) await(ctx context.Context, conn *pgx.Conn) error {
	for {
		quiet, cancel := context.WithTimeout(ctx, l.askEvery)
		_, err := conn.WaitForNotification(quiet)
		silent := quiet.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case !silent:
			return err
		}
		asked, cancel := context.WithTimeout(ctx, callTimeout)
		err = conn.Ping(asked)
		cancel()
		if err != nil {
			return err
		}
	}
}
