package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Access says what a stream asks of a viewer.
type Access string

// The kinds of access.
const (
	AccessPublic        Access = "public"
	AccessAuthenticated Access = "authenticated"
	AccessEntitled      Access = "entitled"
	AccessClosed        Access = "closed"
)

// Publish says what a stream asks of a publisher.
type Publish string

// The kinds of publishing.
const (
	PublishOpen   Publish = "open"
	PublishKey    Publish = "key"
	PublishClosed Publish = "closed"
)

// OnLimit says what happens to a session over the plan's limit.
type OnLimit string

// What can happen over the limit.
const (
	// OnLimitReject denies the new session.
	OnLimitReject OnLimit = "reject"
	// OnLimitKickOldest allows the new session and ends the one that was opened first.
	OnLimitKickOldest OnLimit = "kick_oldest"
)

// OnEvent says what a refund or a dispute does to what the payment bought.
type OnEvent string

// What a refund or dispute can do.
const (
	OnEventVoid OnEvent = "void"
	OnEventKeep OnEvent = "keep"
	OnEventHold OnEvent = "hold"
)

// OnCancel says what a cancellation does to the time that is paid for.
type OnCancel string

// What a cancellation can do.
const (
	// OnCancelPeriodEnd keeps access until the period ends.
	OnCancelPeriodEnd OnCancel = "period_end"
	// OnCancelNow ends access at once.
	OnCancelNow OnCancel = "now"
)

// Plan is what can be bought and what comes with it.
type Plan struct {
	Key string `json:"key"`
	// Rank orders plans: where several are in force, the highest rank gives tags and renditions.
	Rank int `json:"rank,omitempty"`
	// MaxConcurrent is how many sessions a user may have open under the plan; 0: no limit.
	MaxConcurrent int     `json:"max_concurrent,omitempty"`
	OnLimit       OnLimit `json:"on_limit,omitempty"`
	// Grace is how long the plan goes on after a renewal that failed, or of which nothing was heard when the period ended.
	Grace Duration `json:"grace,omitzero"`
	// QuotaMinutes is how many minutes a month (UTC) may be watched under the plan; 0: no limit.
	QuotaMinutes int `json:"quota_minutes,omitempty"`
	// Refund and Dispute say what these do to what the payment bought.
	Refund  OnEvent `json:"refund,omitempty"`
	Dispute OnEvent `json:"dispute,omitempty"`
	// Cancel says what a cancellation does to the time that is paid for. A catalog that was stored before there was this
	// choice has it empty, which means [OnCancelPeriodEnd].
	Cancel OnCancel `json:"cancel,omitempty"`
	Tags   []string `json:"tags,omitempty"`
	// Bounce: when the plan comes into force for a user who is watching another rendition than the plan's, the session is
	// ended, so that its player comes back on its own rendition.
	Bounce bool `json:"bounce,omitempty"`
}

// Window is a time in which a stream has another access than usual, half-open.
type Window struct {
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Access Access    `json:"access"`
}

// StreamPolicy is what holds for the streams that its pattern matches.
type StreamPolicy struct {
	// Match is a stream's name, a prefix with a * at its end, or *.
	Match  string `json:"match"`
	Access Access `json:"access"`
	// Plans are those whose holders may watch.
	Plans []string `json:"plans,omitempty"`
	Tags  []string `json:"tags,omitempty"`
	// Preview is how long a viewer without an entitlement may watch; PreviewEvery is how long it is until the next
	// preview (24 h when zero). A preview is counted for the policy, not for each stream that it matches.
	Preview      Duration `json:"preview,omitzero"`
	PreviewEvery Duration `json:"preview_every,omitzero"`
	// AllowAddresses are the only ones that may watch or publish, all when empty; DenyAddresses wins over it.
	AllowAddresses []netip.Prefix `json:"allow_addresses,omitempty"`
	DenyAddresses  []netip.Prefix `json:"deny_addresses,omitempty"`
	// DenyConnectors are the connectors (protocols, as MistServer names them: HLS, RTMP, …) nobody may watch over.
	DenyConnectors []string `json:"deny_connectors,omitempty"`
	Windows        []Window `json:"windows,omitempty"`
	Publish        Publish  `json:"publish,omitempty"`
	// Renditions are the streams that PLAY_REWRITE answers with, by plan.
	Renditions map[string]string `json:"renditions,omitempty"`
}

// Price says what a provider's price buys: exactly one of Plan, Stream and Tag.
type Price struct {
	Provider string   `json:"provider"`
	Price    string   `json:"price"`
	Plan     string   `json:"plan,omitempty"`
	Stream   string   `json:"stream,omitempty"`
	Tag      string   `json:"tag,omitempty"`
	For      Duration `json:"for,omitzero"`
	// Amount is in the currency's smallest unit; 0: any amount.
	Amount   int64  `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
}

// JWTKey is a key that JWTs are verified with: exactly one of Secret (HS256) and PublicKey (PEM) is set.
type JWTKey struct {
	KID string `json:"kid,omitempty"`
	// Alg is the one algorithm this key is for: HS256, RS256, ES256 or EdDSA.
	Alg       string `json:"alg"`
	Secret    string `json:"secret,omitempty"`
	PublicKey string `json:"public_key,omitempty"`
}

// JWT says which JSON Web Tokens are accepted.
type JWT struct {
	Keys    []JWTKey `json:"keys,omitempty"`
	JWKSURL string   `json:"jwks_url,omitempty"`
	// Issuer and Audience are demanded of a token where they are set.
	Issuer   string `json:"issuer,omitempty"`
	Audience string `json:"audience,omitempty"`
}

// Catalog is what the operator sells and how the streams are guarded: plans, stream policies, prices and the keys of
// JWTs, applied as a whole. It is not changed once it is in use.
type Catalog struct {
	Plans   []Plan         `json:"plans"`
	Streams []StreamPolicy `json:"streams"`
	Prices  []Price        `json:"prices"`
	JWT     JWT            `json:"jwt,omitzero"`
	// Version is the number of the catalog as the store read it, which grows by one with each that differs from the
	// last; 0 when it did not come from there. No decision depends on it.
	Version int64 `json:"-"`

	plans    map[string]*Plan
	exact    map[string]*StreamPolicy
	prefixes []*StreamPolicy // longest prefix first
	// renditionOf are the policies that give a stream as a rendition of theirs.
	renditionOf map[string][]*StreamPolicy
	prices      map[priceName]*Price
	sellers     map[sold][]*Price
}

// priceName is what a provider calls a price.
type priceName struct{ provider, price string }

// sold is what a provider's prices sell.
type sold struct{ provider, plan, stream, tag string }

// Index prepares the catalog for look-ups. It is called once, before the catalog is shared.
func (c *Catalog) Index() {
	c.plans = make(map[string]*Plan, len(c.Plans))
	for i := range c.Plans {
		c.plans[c.Plans[i].Key] = &c.Plans[i]
	}
	c.exact = make(map[string]*StreamPolicy, len(c.Streams))
	c.prefixes = nil
	c.renditionOf = make(map[string][]*StreamPolicy)
	for i := range c.Streams {
		s := &c.Streams[i]
		for _, to := range s.Renditions {
			if of := c.renditionOf[to]; len(of) == 0 || of[len(of)-1] != s {
				c.renditionOf[to] = append(of, s)
			}
		}
		if strings.HasSuffix(s.Match, "*") {
			c.prefixes = append(c.prefixes, s)
		} else {
			c.exact[s.Match] = s
		}
	}
	slices.SortStableFunc(c.prefixes, func(a, b *StreamPolicy) int { return cmp.Compare(len(b.Match), len(a.Match)) })
	c.prices = make(map[priceName]*Price, len(c.Prices))
	c.sellers = make(map[sold][]*Price, len(c.Prices))
	for i := range c.Prices {
		p := &c.Prices[i]
		c.prices[priceName{p.Provider, p.Price}] = p
		thing := sold{p.Provider, p.Plan, p.Stream, p.Tag}
		c.sellers[thing] = append(c.sellers[thing], p)
	}
}

// Plan is the plan with this key; nil when there is none.
func (c *Catalog) Plan(key string) *Plan { return c.plans[key] }

// Price is the provider's price of this name; nil when there is none.
func (c *Catalog) Price(provider, price string) *Price { return c.prices[priceName{provider, price}] }

// PricesOf are the provider's prices that sell exactly this thing, of which one of plan, stream and tag is given, in the
// catalog's order; nil when there is none. A stream is what the price names: live+a is not sold by a price of live+*.
func (c *Catalog) PricesOf(provider string, plan, stream, tag string) []*Price {
	return c.sellers[sold{provider, plan, stream, tag}]
}

// Stream is the policy that holds for a stream: the one of its very name, else the one with the longest matching
// prefix; nil when there is none.
func (c *Catalog) Stream(name string) *StreamPolicy {
	if s := c.exact[name]; s != nil {
		return s
	}
	for _, s := range c.prefixes {
		if MatchStream(s.Match, name) {
			return s
		}
	}
	return nil
}

// MatchStream says whether a pattern (a stream's name, a prefix with a * at its end, or *) matches a stream.
func MatchStream(pattern, stream string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(stream, prefix)
	}
	return pattern == stream
}
