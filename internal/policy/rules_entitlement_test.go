package policy

import "time"

// gold is an entitlement to the plan gold.
func gold(from, until time.Time) change {
	return has(Entitlement{ID: "e1", Plan: "gold", From: from, Until: until})
}

// failed is an entitlement to a plan whose renewal failed, just when it ended.
func failed(plan string, when time.Time) change {
	return has(Entitlement{ID: "e1", Plan: plan, From: in(-90 * day), Until: when, GraceFrom: when})
}

var never time.Time

var nextMonth = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)

func goldUntil(t time.Time) Decision {
	return Decision{Reason: Entitled, Plan: "gold", Tags: goldTags, Until: t}
}

var entitlementRows = []row{
	{"no entitlement", viewers, nil, Decision{Reason: PaymentRequired}},
	{"an entitlement to a plan", viewers, with(gold(in(-time.Hour), in(time.Hour))), goldUntil(in(time.Hour))},
	{"an entitlement without end", viewers, with(gold(in(-time.Hour), never)), goldUntil(never)},
	{"an entitlement without bounds", viewers, with(gold(never, never)), goldUntil(never)},
	{"an entitlement to a plan that opens other streams", viewers, with(plan("other")), Decision{Reason: PaymentRequired}},
	{"an entitlement to a plan that the catalog has lost", viewers,
		with(plan("silver"), policy(func(s *StreamPolicy) { s.Plans = append(s.Plans, "silver") })), Decision{Reason: PaymentRequired}},
	{"an entitlement to nothing", viewers, with(has(Entitlement{ID: "e1"})), Decision{Reason: PaymentRequired}},
	{"an entitlement to the stream", viewers, with(has(Entitlement{Stream: "live+show", Until: in(time.Hour)})),
		Decision{Reason: Entitled, Until: in(time.Hour)}},
	{"an entitlement to streams of a pattern", viewers, with(has(Entitlement{Stream: "live+*"})), Decision{Reason: Entitled}},
	{"an entitlement to another stream", viewers, with(has(Entitlement{Stream: "live+sho"}), has(Entitlement{Stream: "vod*"})),
		Decision{Reason: PaymentRequired}},
	{"an entitlement to a tag of the stream", viewers, with(has(Entitlement{Tag: "premium"})), Decision{Reason: Entitled}},
	{"an entitlement to another tag", viewers, with(has(Entitlement{Tag: "prem"})), Decision{Reason: PaymentRequired}},
	{"a plan's key is no tag", viewers, with(has(Entitlement{Tag: "gold"}), has(Entitlement{Stream: "gold"})), Decision{Reason: PaymentRequired}},
	{"a plan opens a stream, and another gives the tags", viewers, with(plan("gold"), plan("other")),
		Decision{Reason: Entitled, Plan: "gold", Tags: []string{"plan:other"}}},

	{"an entitlement that has ended", viewers, with(gold(never, noon)), Decision{Reason: EntitlementExpired}},
	{"an entitlement to come", viewers, with(gold(in(time.Hour), never)), Decision{Reason: EntitlementNotStarted, Until: in(time.Hour)}},
	{"one that has ended and one to come", viewers, with(gold(never, noon), gold(in(time.Hour), never)),
		Decision{Reason: EntitlementNotStarted, Until: in(time.Hour)}},
	{"one to come and one that has ended", viewers, with(gold(in(time.Hour), never), gold(never, noon)),
		Decision{Reason: EntitlementNotStarted, Until: in(time.Hour)}},
	{"one that has ended, of another stream", viewers, with(has(Entitlement{Stream: "vod", Until: noon})), Decision{Reason: PaymentRequired}},
	{"an entitlement whose end is before its beginning", viewers, with(gold(in(-time.Hour), in(-2*time.Hour))),
		Decision{Reason: EntitlementExpired}},
	{"a renewal that follows at once", viewers, with(gold(never, in(time.Hour)), gold(in(time.Hour), in(2*time.Hour))),
		goldUntil(in(2 * time.Hour))},
	{"a renewal that overlaps", viewers, with(gold(never, in(2*time.Hour)), gold(in(time.Hour), in(3*time.Hour))),
		goldUntil(in(3 * time.Hour))},
	{"a renewal after a gap", viewers, with(gold(never, in(time.Hour)), gold(in(2*time.Hour), never)), goldUntil(in(time.Hour))},
	{"the best of the plans in force", viewers, with(plan("basic"), gold(never, in(time.Hour))), goldUntil(in(time.Hour))},
	{"the plan of the higher rank, with its limits", viewers, with(plan("basic"), plan("single")),
		Decision{Reason: Entitled, Plan: "single", Tags: []string{"plan:single"}, MaxConcurrent: 1, OnLimit: OnLimitKickOldest}},
	{"a stream's entitlement rather than a plan with limits", viewers, with(plan("single"), has(Entitlement{Stream: "live+show"})),
		Decision{Reason: Entitled, Tags: []string{"plan:single"}}},
	{"a stream's entitlement rather than a plan's", viewers, with(has(Entitlement{Stream: "live+show"}), plan("gold")),
		Decision{Reason: Entitled, Tags: goldTags}},

	{"in the grace", viewers, with(failed("gold", in(-time.Hour))), Decision{Reason: Grace, Plan: "gold", Tags: goldTags, Until: in(3*day - time.Hour)}},
	{"after the grace", viewers, with(failed("gold", in(-3*day))), Decision{Reason: EntitlementExpired}},
	{"the last nanosecond of the grace", viewers, with(failed("gold", in(-3*day+1))),
		Decision{Reason: Grace, Plan: "gold", Tags: goldTags, Until: in(1)}},
	{"a renewal that failed before the end of what is paid", viewers,
		with(has(Entitlement{Plan: "gold", Until: in(time.Hour), GraceFrom: in(-day)})), goldUntil(in(time.Hour))},
	{"the grace counts from the failed renewal", viewers, with(has(Entitlement{Plan: "gold", Until: in(-time.Hour), GraceFrom: in(-day)})),
		Decision{Reason: Grace, Plan: "gold", Tags: goldTags, Until: in(2 * day)}},
	{"the grace was over before what was paid", viewers, with(has(Entitlement{Plan: "gold", Until: noon, GraceFrom: in(-4 * day)})),
		Decision{Reason: EntitlementExpired}},
	{"no grace without a failed renewal", viewers, with(gold(never, in(-time.Second))), Decision{Reason: EntitlementExpired}},
	{"no grace before the beginning", viewers, with(has(Entitlement{Plan: "gold", From: in(time.Hour), Until: in(2 * time.Hour), GraceFrom: in(-time.Hour)})),
		Decision{Reason: EntitlementNotStarted, Until: in(time.Hour)}},
	{"no grace where the plan has none", viewers, with(failed("basic", in(-time.Second))), Decision{Reason: EntitlementExpired}},
	{"no grace for a stream's entitlement", viewers, with(has(Entitlement{Stream: "live+show", Until: in(-time.Second), GraceFrom: in(-time.Second)})),
		Decision{Reason: EntitlementExpired}},
	{"no grace for a plan that opens other streams", viewers,
		with(failed("gold", in(-time.Hour)), policy(func(s *StreamPolicy) { s.Plans = []string{"basic"} })), Decision{Reason: PaymentRequired}},
	{"in force rather than in the grace, whatever the rank", viewers, with(failed("gold", in(-time.Hour)), plan("basic")),
		Decision{Reason: Entitled, Plan: "basic", Tags: goldTags, Until: in(3*day - time.Hour)}},
}

var limitRows = []row{
	{"a plan with a limit says so", viewers, with(plan("single")),
		Decision{Reason: Entitled, Plan: "single", Tags: []string{"plan:single"}, MaxConcurrent: 1, OnLimit: OnLimitKickOldest}},
	{"a quota that is not used up", viewers, with(plan("metered"), used(time.Hour-1)),
		Decision{Reason: Entitled, Plan: "metered", Tags: []string{"plan:metered"}}},
	{"a quota that is used up, until the month is over", viewers, with(plan("metered"), used(time.Hour)),
		Decision{Reason: QuotaExhausted, Plan: "metered", Until: nextMonth}},
	{"a quota that was used up last month", viewers, with(plan("metered"), used(time.Hour), asking(nextMonth)),
		Decision{Reason: Entitled, Plan: "metered", Tags: []string{"plan:metered"}}},
	{"a quota that will be used up: facts read after the month turned", viewers,
		with(plan("metered"), used(time.Hour), func(w *world) { w.ann().UsedMonth = nextMonth }),
		Decision{Reason: Entitled, Plan: "metered", Tags: []string{"plan:metered"}, Until: nextMonth}},
	{"a quota in the last nanosecond of the month", viewers, with(plan("metered"), asking(nextMonth.Add(-1)), used(time.Hour),
		func(w *world) { w.ann().UsedMonth = monthStart(noon) }), Decision{Reason: QuotaExhausted, Plan: "metered", Until: nextMonth}},
	{"a quota used up in December", viewers,
		with(plan("metered"), asking(time.Date(2026, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200))),
			used(time.Hour), func(w *world) { w.ann().UsedMonth = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }),
		Decision{Reason: QuotaExhausted, Plan: "metered", Until: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)}},
	{"a quota used up, before the month is over the entitlement is", viewers,
		with(has(Entitlement{Plan: "metered", Until: in(time.Hour)}), used(time.Hour)),
		Decision{Reason: QuotaExhausted, Plan: "metered", Until: in(time.Hour)}},
	{"a quota used up, and a plan without one", viewers, with(plan("metered"), plan("basic"), used(time.Hour)),
		Decision{Reason: Entitled, Plan: "basic", Tags: []string{"plan:metered"}, Until: nextMonth}},
	{"a quota used up, and another plan's grace", viewers, with(plan("metered"), failed("gold", in(-day)), used(time.Hour)),
		Decision{Reason: Grace, Plan: "gold", Tags: goldTags, Until: in(2 * day)}},
	{"a quota used up, and the stream bought", viewers, with(plan("metered"), has(Entitlement{Stream: "live+show"}), used(time.Hour)),
		Decision{Reason: Entitled, Tags: []string{"plan:metered"}}},
	{"a quota used up gives no preview", watch, with(plan("metered"), used(time.Hour), preview(time.Minute, 0), previewFrom(noon)),
		Decision{Reason: QuotaExhausted, Plan: "metered", Until: nextMonth}},
	{"a quota is no matter to a plan without one", viewers, with(plan("gold"), used(1000*time.Hour)), goldUntil(never)},
	{"a quota is no matter to an entitlement that is over", viewers, with(has(Entitlement{Plan: "metered", Until: noon}), used(time.Hour)),
		Decision{Reason: EntitlementExpired}},
}

var minutePreview = preview(time.Minute, 0)

func previewed(began time.Time) Decision {
	return Decision{Reason: Preview, Until: began.Add(time.Minute)}
}

var previewRows = []row{
	{"a preview may begin", watch, with(minutePreview), Decision{Reason: PaymentRequired, MayPreview: true}},
	{"a preview may begin, of nobody", watch, with(minutePreview, nobody), Decision{Reason: CredentialMissing, MayPreview: true}},
	{"a preview may begin, after an entitlement", watch, with(minutePreview, gold(never, noon)), Decision{Reason: EntitlementExpired, MayPreview: true}},
	{"a preview may begin, before an entitlement", watch, with(minutePreview, gold(in(time.Hour), never)),
		Decision{Reason: EntitlementNotStarted, MayPreview: true, Until: in(time.Hour)}},
	{"a preview begins", watch, with(minutePreview, previewFrom(noon)), previewed(noon)},
	{"a preview of nobody begins", watch, with(minutePreview, nobody, previewFrom(noon)), previewed(noon)},
	{"a preview runs", watch, with(minutePreview, previewFrom(in(-59*time.Second))), previewed(in(-59 * time.Second))},
	{"a preview is over", watch, with(minutePreview, previewFrom(in(-time.Minute))),
		Decision{Reason: PaymentRequired, Until: in(day - time.Minute)}},
	{"a preview of nobody is over", watch, with(minutePreview, nobody, previewFrom(in(-time.Minute))),
		Decision{Reason: CredentialMissing, Until: in(day - time.Minute)}},
	{"the next preview, a day later", watch, with(minutePreview, previewFrom(in(-day))), Decision{Reason: PaymentRequired, MayPreview: true}},
	{"the next preview, when the policy says", watch, with(preview(time.Minute, time.Hour), previewFrom(in(-time.Hour+1))),
		Decision{Reason: PaymentRequired, Until: in(1)}},
	{"the next preview never begins within one", watch, with(preview(time.Hour, time.Minute), previewFrom(in(-30*time.Minute))),
		Decision{Reason: Preview, Until: in(30 * time.Minute)}},
	{"a preview longer than a day", watch, with(preview(2*day, 0), previewFrom(in(-day))), Decision{Reason: Preview, Until: in(day)}},
	{"a preview goes on under an entitlement that begins", watch, with(minutePreview, previewFrom(noon), gold(in(time.Second), never)),
		Decision{Reason: Preview, Until: in(time.Second)}},
	{"an entitlement rather than a preview", viewers, with(minutePreview, previewFrom(noon), plan("gold")), goldUntil(never)},
	{"no preview on a public stream", watch, with(minutePreview, access(AccessPublic), nobody), Decision{Reason: Public}},
	{"no preview without a rule for one", watch, with(nobody, previewFrom(noon)), Decision{Reason: CredentialMissing}},
	{"a preview ends where a window closes the stream", watch,
		with(minutePreview, previewFrom(noon), window(in(30*time.Second), in(time.Hour), AccessClosed)),
		Decision{Reason: Preview, Until: in(30 * time.Second)}},
	{"a preview keeps the plan's tags", watch, with(minutePreview, previewFrom(noon), plan("other")),
		Decision{Reason: Preview, Tags: []string{"plan:other"}, Until: in(time.Minute)}},
}
