package policy

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// remembered are the decisions about up to maxRepeats events, written one after the other into one piece of memory. There
// may be more than a hundred thousand of them in all: the garbage collector has nothing to search in them but what came with
// a JWT, and to find that an event is none of them mostly takes one look at few bytes.
type remembered struct {
	slots  []uint32 // of a hash table: a part of the event's hash, and its place in ids and at plus one; 0: free
	ids    []EventID
	at     []int // where in text each event's decision begins
	text   []byte
	claims []*Credential // which are shared, and kept elsewhere by their token's hash
}

const (
	slotBits  = 13 // twice as many slots as there can be events
	placeBits = 13
	placeMask = 1<<placeBits - 1
)

// slotOf is the slot in which an event stands, or could, with the part of its hash that stands there too.
func (m *remembered) slotOf(id EventID) (slot *uint32, part uint32) {
	h := (id.UUID ^ bits.RotateLeft64(id.Digest, 32)) * 0x9e3779b97f4a7c15 // spread, should an id be no hash
	part = uint32(h) &^ placeMask
	for i := h >> (64 - slotBits); ; i = (i + 1) % (1 << slotBits) {
		slot = &m.slots[i]
		if *slot == 0 || *slot&^placeMask == part && m.ids[*slot&placeMask-1] == id {
			return slot, part
		}
	}
}

// What stands at the beginning of a decision that is written down.
const (
	writtenAllow = 1 << iota
	writtenMetered
	writtenMayPreview
	writtenUntil
	writtenPreviewFrom
	writtenClaims
)

// put writes down the decision about an event that is not remembered yet. There are fewer than maxRepeats.
func (m *remembered) put(id EventID, d *Decision) {
	if m.slots == nil {
		m.slots = make([]uint32, 1<<slotBits)
	}
	slot, part := m.slotOf(id)
	m.ids, m.at = append(m.ids, id), append(m.at, len(m.text))
	*slot = part | uint32(len(m.ids))
	signs := len(m.text)
	b := append(m.text, 0, byte(d.Reason))
	sign := func(is bool, s byte) bool {
		if is {
			b[signs] |= s
		}
		return is
	}
	sign(d.Allow, writtenAllow)
	sign(d.Metered, writtenMetered)
	sign(d.MayPreview, writtenMayPreview)
	if sign(!d.Until.IsZero(), writtenUntil) {
		b = appendMoment(b, d.Until)
	}
	if sign(!d.PreviewFrom.IsZero(), writtenPreviewFrom) {
		b = appendMoment(b, d.PreviewFrom)
	}
	if sign(d.Claims != nil, writtenClaims) {
		b = binary.AppendUvarint(b, uint64(len(m.claims)))
		m.claims = append(m.claims, d.Claims)
	}
	for _, text := range [...]string{d.User, d.CredentialID, d.Plan, d.Stream, d.Rendition, string(d.OnLimit)} {
		b = appendText(b, text)
	}
	b = binary.AppendVarint(b, int64(d.MaxConcurrent))
	b = binary.AppendUvarint(b, uint64(len(d.Tags)))
	for _, tag := range d.Tags {
		b = appendText(b, tag)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Kicked)))
	for _, k := range d.Kicked {
		b = appendText(appendText(b, k.Node), k.Session)
	}
	m.text = b
}

// has says whether an event is remembered.
func (m *remembered) has(id EventID) bool {
	if len(m.ids) == 0 {
		return false
	}
	slot, _ := m.slotOf(id)
	return *slot != 0
}

// get reads the decision about an event that is remembered, into an empty one.
func (m *remembered) get(id EventID, d *Decision) {
	slot, _ := m.slotOf(id)
	r := written(m.text[m.at[*slot&placeMask-1]:])
	signs := r.byte()
	d.Reason = Reason(r.byte())
	d.Allow, d.Metered, d.MayPreview = signs&writtenAllow != 0, signs&writtenMetered != 0, signs&writtenMayPreview != 0
	if signs&writtenUntil != 0 {
		d.Until = r.moment()
	}
	if signs&writtenPreviewFrom != 0 {
		d.PreviewFrom = r.moment()
	}
	if signs&writtenClaims != 0 {
		d.Claims = m.claims[r.count()]
	}
	d.User, d.CredentialID, d.Plan, d.Stream, d.Rendition, d.OnLimit = r.text(), r.text(), r.text(), r.text(), r.text(), OnLimit(r.text())
	d.MaxConcurrent = r.number()
	for range r.count() {
		d.Tags = append(d.Tags, r.text())
	}
	for range r.count() {
		d.Kicked = append(d.Kicked, KickedSession{Node: r.text(), Session: r.text()})
	}
}

// forget forgets everything. The memory is kept for what comes, if that is likely to need it: not after a rush, when there
// were far fewer decisions since.
func (m *remembered) forget(since int) {
	if len(m.ids) > 4*since {
		*m = remembered{}
		return
	}
	clear(m.slots)
	clear(m.claims)
	m.ids, m.at, m.text, m.claims = m.ids[:0], m.at[:0], m.text[:0], m.claims[:0]
}

func appendMoment(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// written is what is still to be read of a decision that was written down.
type written []byte

func (w *written) byte() byte {
	b := (*w)[0]
	*w = (*w)[1:]
	return b
}

func (w *written) count() int {
	n, size := binary.Uvarint(*w)
	*w = (*w)[size:]
	return int(n)
}

func (w *written) number() int {
	n, size := binary.Varint(*w)
	*w = (*w)[size:]
	return int(n)
}

func (w *written) moment() time.Time {
	seconds, nanoseconds := binary.BigEndian.Uint64(*w), binary.BigEndian.Uint32((*w)[8:])
	*w = (*w)[12:]
	return time.Unix(int64(seconds), int64(nanoseconds)).UTC()
}

func (w *written) text() string {
	n := w.count()
	text := string((*w)[:n])
	*w = (*w)[n:]
	return text
}
