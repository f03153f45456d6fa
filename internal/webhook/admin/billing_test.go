package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

// event is one as it is put into the inbox, at a minute after noon.
func event(n int, change func(*store.BillingEvent)) store.BillingEvent {
	at := noon.Add(time.Duration(n) * time.Minute)
	e := store.BillingEvent{
		Provider: "stripe", ID: fmt.Sprint("evt_", n), Type: "invoice.paid", At: at, Received: at, Next: at,
		Body: []byte(`{"card":"4242"}`), State: store.EventReceived,
	}
	if change != nil {
		change(&e)
	}
	return e
}

// received puts events into the inbox: 1 to 3 of Stripe, the third of them dead, and a 4th of the shop.
func (w *world) received() {
	w.t.Helper()
	for _, e := range []store.BillingEvent{
		event(1, nil), event(2, func(e *store.BillingEvent) { e.Type = "charge.refunded" }),
		event(3, func(e *store.BillingEvent) {
			e.State, e.Reason, e.Body = store.EventDead, "cannot be read", []byte("\xff{")
		}),
		event(4, func(e *store.BillingEvent) { e.Provider, e.At, e.Type = "shop", time.Time{}, "" }),
	} {
		fresh, err := w.db.ReceiveEvent(w.t.Context(), e)
		require.NoError(w.t, err)
		require.True(w.t, fresh)
	}
}

// applied notes that the second event was applied, and was about alice.
func (w *world) applied() {
	w.t.Helper()
	require.NoError(w.t, w.db.ApplyEvent(w.t.Context(), 2, []string{"payment/pi_1"}, false,
		func(*store.BillingAccount) (*store.BillingEffect, error) {
			return &store.BillingEffect{State: store.EventApplied, User: "alice", Subject: "payment/pi_1", Names: []string{"payment/pi_1"}}, nil
		}))
}

// restart serves the API with the options as they are now.
func (w *world) restart() {
	w.t.Helper()
	api, err := admin.New(w.db, w.decider, w.options)
	require.NoError(w.t, err)
	w.api, w.server = api, httptest.NewServer(underContract(w.t, api))
	w.t.Cleanup(w.server.Close)
}

func numbers(list []client.BillingEvent) (all []int64) {
	for _, e := range list {
		all = append(all, e.Number)
	}
	return all
}

func TestBillingEventsAreListed(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		empty, err := c.ListBillingEventsWithResponse(ctx, nil)
		require.NoError(t, err)
		assert.Empty(t, empty.JSON200.Items)
		w.received()
		w.applied()
		moment := func(n int) *time.Time { return new(noon.Add(time.Duration(n) * time.Minute)) }
		for _, test := range []struct {
			name string
			p    client.ListBillingEventsParams
			want []int64
		}{
			{"all", client.ListBillingEventsParams{}, []int64{1, 2, 3, 4}},
			{"the latest first", client.ListBillingEventsParams{Order: new(client.LatestFirst)}, []int64{4, 3, 2, 1}},
			{"the oldest first", client.ListBillingEventsParams{Order: new(client.OldestFirst)}, []int64{1, 2, 3, 4}},
			{"of a state", client.ListBillingEventsParams{State: new(client.EventDead)}, []int64{3}},
			{"of a state, the latest first", client.ListBillingEventsParams{State: new(client.EventReceived), Order: new(client.LatestFirst)}, []int64{4, 1}},
			{"of a provider", client.ListBillingEventsParams{Provider: new("shop")}, []int64{4}},
			{"of a type", client.ListBillingEventsParams{Type: new("charge.refunded")}, []int64{2}},
			{"of a user", client.ListBillingEventsParams{User: new("alice")}, []int64{2}},
			{"of nobody", client.ListBillingEventsParams{User: new("bob")}, nil},
			{"from a moment on", client.ListBillingEventsParams{From: moment(2)}, []int64{2, 3, 4}},
			{"until a moment", client.ListBillingEventsParams{Until: moment(2)}, []int64{1}},
			{"between two", client.ListBillingEventsParams{From: moment(2), Until: moment(4)}, []int64{2, 3}},
			{"of all that", client.ListBillingEventsParams{Provider: new("stripe"), State: new(client.EventReceived), Until: moment(2)}, []int64{1}},
		} {
			t.Run(test.name, func(t *testing.T) {
				var all []int64
				p := test.p
				for p.Limit = new(client.LimitParam(1)); ; {
					a, err := c.ListBillingEventsWithResponse(ctx, &p)
					require.NoError(t, err)
					all = append(all, numbers(a.JSON200.Items)...)
					if a.JSON200.Next == "" {
						break
					}
					p.Cursor = &a.JSON200.Next
				}
				assert.Equal(t, test.want, all, "page by page")
				a, err := c.ListBillingEventsWithResponse(ctx, &test.p)
				require.NoError(t, err)
				assert.Equal(t, test.want, numbers(a.JSON200.Items), "at once")
			})
		}
		all, err := c.ListBillingEventsWithResponse(ctx, nil)
		require.NoError(t, err)
		second := all.JSON200.Items[1]
		assert.WithinDuration(t, time.Now(), second.Applied, time.Hour)
		second.Applied = time.Time{}
		assert.Equal(t, client.BillingEvent{
			Number: 2, Provider: "stripe", ID: "evt_2", Type: "charge.refunded", At: noon.Add(2 * time.Minute), Received: noon.Add(2 * time.Minute),
			State: client.EventApplied, User: "alice", Subject: "payment/pi_1",
		}, second)

		oldest, err := c.ListBillingEventsWithResponse(ctx, &client.ListBillingEventsParams{Limit: new(client.LimitParam(1))})
		require.NoError(t, err)
		_, err = c.ListBillingEventsWithResponse(ctx, &client.ListBillingEventsParams{Order: new(client.LatestFirst), Cursor: &oldest.JSON200.Next})
		assert.Equal(t, "cursor", refused(t, err, client.ProblemInvalid).Errors[0].Field, "of another order")
		for _, query := range []string{"state=lost", "order=up", "from=today", "limit=0", "provider=", "stat=dead", "cursor=WyJ4Il0", "state=dead&state=dead"} {
			a := w.send(http.MethodGet, "/api/v1/billing/events?"+query, "")
			assert.Equal(t, http.StatusBadRequest, a.StatusCode, query)
		}
	})
}

// Who a person is, is in the bodies: they are for administrators.
func TestABillingEventIsRead(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		w.received()
		for _, role := range []client.Role{client.RoleRead, client.RoleBilling, client.RoleAdmin} {
			_, key := w.key(role)
			for number, body := range map[int64]string{1: `{"card":"4242"}`, 3: "\xff{"} {
				a, err := w.as(key).GetBillingEventWithResponse(t.Context(), number)
				require.NoError(t, err)
				assert.Equal(t, number, a.JSON200.Number)
				if role == client.RoleAdmin {
					assert.Equal(t, body, string(a.JSON200.Body), "byte for byte")
				} else {
					assert.NotContains(t, string(a.Body), "body", role)
				}
			}
			list, err := w.as(key).ListBillingEventsWithResponse(t.Context(), nil)
			require.NoError(t, err)
			assert.NotContains(t, string(list.Body), "body", "lists are without them for everybody")
		}
		_, err := w.admin().GetBillingEventWithResponse(t.Context(), 99)
		assert.Contains(t, refused(t, err, client.ProblemNotFound).Detail, "billing event 99")
		for _, number := range []string{"0", "-1", "x", "replay", "1.5", "99999999999999999999"} {
			assert.Equal(t, http.StatusBadRequest, w.send(http.MethodGet, "/api/v1/billing/events/"+number, "").StatusCode, number)
		}
	})
}

func TestABillingEventIsAppliedAgain(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, replays := t.Context(), 0
		w.options.Replayed = func() { replays++ }
		w.restart()
		w.received()
		w.applied()
		_, key := w.key(client.RoleBilling)
		c := w.as(key)
		a, err := c.ReplayBillingEventWithResponse(ctx, 2, nil)
		require.NoError(t, err)
		assert.Equal(t, client.EventReceived, a.JSON200.Event.State, "as it stands now")
		assert.Equal(t, "alice", a.JSON200.Event.User)
		assert.NotContains(t, string(a.Body), "4242")
		assert.NotContains(t, string(a.Body), "effect")
		assert.Equal(t, 1, replays)
		due, err := w.db.DueEvents(ctx, time.Now(), 10)
		require.NoError(t, err)
		assert.True(t, slices.ContainsFunc(due, func(e store.BillingEvent) bool { return e.Number == 2 }))

		_, err = c.ReplayBillingEventWithResponse(ctx, 99, nil)
		refused(t, err, client.ProblemNotFound)
		_, err = c.ReplayBillingEventWithResponse(ctx, 1, &client.ReplayBillingEventParams{DryRun: new(true)})
		assert.Contains(t, refused(t, err, client.ProblemUnavailable).Detail, "how billing events are read")
		w.applied()
		_, err = w.db.PruneEventBodies(ctx, noon.Add(time.Hour))
		require.NoError(t, err)
		for _, dry := range []bool{true, false} {
			_, err = c.ReplayBillingEventWithResponse(ctx, 2, &client.ReplayBillingEventParams{DryRun: &dry})
			assert.Contains(t, refused(t, err, client.ProblemConflict).Detail, "dropped")
		}
		assert.Equal(t, 1, replays)
		assert.Equal(t, http.StatusBadRequest, w.send(http.MethodPost, "/api/v1/billing/events/1/replay?dryrun=true", "").StatusCode,
			"a slip does not make it real")
	})
}

// A dry run says everything that would change, and changes nothing.
func TestABillingEventIsTried(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		var effect *store.BillingEffect
		fault := error(nil)
		w.options.TryEvent = func(_ context.Context, number int64) (*store.BillingEffect, error) {
			assert.Equal(t, int64(1), number)
			return effect, fault
		}
		w.options.Replayed = func() { t.Error("a dry run is no replay") }
		w.restart()
		w.received()
		try := func() (*client.BillingReplay, error) {
			a, err := w.admin().ReplayBillingEventWithResponse(t.Context(), 1, &client.ReplayBillingEventParams{DryRun: new(true)})
			if err != nil {
				return nil, err
			}
			return a.JSON200, nil
		}
		owned := func(id, plan string) store.OwnedEntitlement {
			return store.OwnedEntitlement{User: "alice", Origin: "stripe/subscription/sub_1",
				Entitlement: policy.Entitlement{ID: id, Plan: plan, From: noon, Until: noon.Add(time.Hour), GraceFrom: noon.Add(time.Minute), Source: "stripe"}}
		}
		held := func(id string) store.OwnedHold {
			return store.OwnedHold{User: "alice", Origin: "stripe/dispute/dp_1", Hold: policy.Hold{ID: id, Kind: "dispute", Ref: "dp_1", From: noon}}
		}
		effect = &store.BillingEffect{
			State: store.EventApplied, Reason: "because", User: "alice", Subject: "subscription/sub_1",
			Add: []store.OwnedEntitlement{owned("", "gold")}, Change: []store.OwnedEntitlement{owned("ent_1", "basic")},
			Remove: []store.OwnedEntitlement{owned("ent_2", "")}, AddHolds: []store.OwnedHold{held("")}, RemoveHolds: []store.OwnedHold{held("hold_1")},
			Payments: []store.Payment{{Provider: "stripe", ID: "pi_1", User: "alice", Status: "succeeded", Amount: 999, Refunded: 9, Currency: "usd", Reason: "r"}},
			Statuses: map[string]policy.UserStatus{"bob": policy.ActiveUser, "alice": policy.SuspendedUser},
		}
		done, err := try()
		require.NoError(t, err)
		assert.Equal(t, client.EventReceived, done.Event.State)
		e := client.BillingEntitlement{
			User: "alice", Origin: "stripe/subscription/sub_1", Plan: "gold", From: noon, Until: noon.Add(time.Hour), GraceFrom: noon.Add(time.Minute), Source: "stripe",
		}
		changed, removed := e, e
		changed.ID, changed.Plan, removed.ID, removed.Plan = "ent_1", "basic", "ent_2", ""
		d := client.BillingHold{User: "alice", Origin: "stripe/dispute/dp_1", Kind: "dispute", Ref: "dp_1", From: noon}
		lifted := d
		lifted.ID = "hold_1"
		assert.Equal(t, client.BillingEffect{
			State: client.EventApplied, Reason: "because", User: "alice", Subject: "subscription/sub_1",
			EntitlementsAdded: []client.BillingEntitlement{e}, EntitlementsChanged: []client.BillingEntitlement{changed},
			EntitlementsRemoved: []client.BillingEntitlement{removed},
			HoldsAdded:          []client.BillingHold{d}, HoldsRemoved: []client.BillingHold{lifted},
			Payments: []client.BillingPayment{{ID: "pi_1", User: "alice", Status: "succeeded", Amount: 999, Refunded: 9, Currency: "usd", Reason: "r"}},
			Statuses: []client.BillingStatus{{User: "alice", Status: client.Suspended}, {User: "bob", Status: client.Active}},
		}, done.Effect)

		effect = &store.BillingEffect{State: store.EventStale}
		done, err = try()
		require.NoError(t, err)
		assert.NotNil(t, done.Effect.EntitlementsAdded, "an empty list is written as one")
		fault = fmt.Errorf("try: %w", store.ErrUnavailable)
		_, err = try()
		refused(t, err, client.ProblemUnavailable)
		fault = errors.New("hunter2")
		_, err = try()
		assert.NotContains(t, refused(t, err, client.ProblemInternal).Error(), "hunter2")
		stands, err := w.db.BillingEvent(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, store.EventReceived, stands.State)
	})
}

func TestBillingEventsAreAppliedAgain(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, replays := t.Context(), 0
		w.options.Replayed = func() { replays++ }
		w.restart()
		w.received()
		w.applied()
		_, key := w.key(client.RoleBilling)
		replay := func(dry bool, f client.BillingEventFilter) int64 {
			a, err := w.as(key).ReplayBillingEventsWithResponse(ctx, &client.ReplayBillingEventsParams{DryRun: &dry}, f)
			require.NoError(t, err)
			return a.JSON200.Events
		}
		state := func(number int64) store.EventState {
			e, err := w.db.BillingEvent(ctx, number)
			require.NoError(t, err)
			return e.State
		}
		for _, test := range []struct {
			f    client.BillingEventFilter
			want int64
		}{
			{client.BillingEventFilter{State: client.EventDead}, 1},
			{client.BillingEventFilter{State: client.EventApplied}, 1},
			{client.BillingEventFilter{State: client.EventStale}, 0},
			{client.BillingEventFilter{Provider: "stripe"}, 3},
			{client.BillingEventFilter{Provider: "stripe", Type: "charge.refunded"}, 1},
			{client.BillingEventFilter{User: "alice"}, 1},
			{client.BillingEventFilter{From: noon.Add(2 * time.Minute)}, 3},
			{client.BillingEventFilter{From: noon.Add(2 * time.Minute), Until: noon.Add(3 * time.Minute)}, 1},
		} {
			assert.Equal(t, test.want, replay(true, test.f), "%+v", test.f)
		}
		assert.Equal(t, store.EventApplied, state(2), "a dry run changes nothing")
		assert.Zero(t, replays)
		assert.Equal(t, int64(1), replay(false, client.BillingEventFilter{State: client.EventDead}))
		assert.Equal(t, store.EventReceived, state(3))
		assert.Equal(t, 1, replays)
		for _, body := range []string{`{}`, `{"state":""}`, `{"state":"lost"}`, `{"stat":"dead"}`, `{"provider":""}`, `{"from":"today"}`, `[]`, ``, `null`, `{"state":"dead","limit":1}`} {
			a := w.send(http.MethodPost, "/api/v1/billing/events/replay", body)
			assert.Contains(t, []int{http.StatusBadRequest, http.StatusUnsupportedMediaType}, a.StatusCode, body)
		}
		a := w.send(http.MethodPost, "/api/v1/billing/events/replay", `{"from":"2026-11-22T12:00:00Z","until":"2026-11-22T12:00:00Z"}`)
		assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
		assert.Equal(t, 1, replays)
	})
}
