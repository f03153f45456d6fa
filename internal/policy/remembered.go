package policy

import (
	"encoding/binary"
	"time"
)

// remembered are the decisions about events, written one after the other into one piece of memory. There may be more than a
// hundred thousand of them, and the garbage collector has nothing to search in it but what came with a JWT.
type remembered struct {
	at     map[EventID]int // where in text its decision begins
	text   []byte
	claims []*Credential // which are shared, and kept elsewhere by their token's hash
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

// put writes down the decision about an event.
func (m *remembered) put(id EventID, d *Decision) {
	if m.at == nil {
		m.at = make(map[EventID]int)
	}
	m.at[id] = len(m.text)
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

// get is the decision about an event; false where none is remembered.
func (m *remembered) get(id EventID) (d Decision, ok bool) {
	at, ok := m.at[id]
	if !ok {
		return d, false
	}
	r := written(m.text[at:])
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
	return d, true
}

// forget forgets everything. The memory is kept for what comes, if that is likely to need it: not after a rush, when there
// were far fewer decisions since.
func (m *remembered) forget(since int) {
	if len(m.at) > 4*since {
		*m = remembered{}
		return
	}
	clear(m.at)
	clear(m.claims)
	m.text, m.claims = m.text[:0], m.claims[:0]
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
