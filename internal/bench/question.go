package bench

import (
	"bytes"
	"net/netip"
	"strconv"
	"sync/atomic"

	"authhook/internal/mist"
	"authhook/internal/wire"
)

// Stream is what everybody wants to watch.
const Stream = "live+fight"

// Framing is how a question is put.
type Framing uint8

// The framings.
const (
	// HTTPClose is HTTP with a connection for each question, as MistServer asks.
	HTTPClose Framing = iota
	// HTTPKept is HTTP over connections that are kept alive.
	HTTPKept
	// Wire is authhook-trigger's own, with a connection for each question.
	Wire
	// WireUnnamed is the same without the event's UUID: so the service does not remember it, to answer it alike.
	WireUnnamed
)

// uuidPlace stands where each ask has a UUID of its own: no two are the same event.
const uuidPlace = "UUIDUUIDUUIDUUID"

// Question is a USER_NEW, ready to be sent but for its UUID.
type Question struct {
	text   []byte
	uuidAt int // below zero: it has none
}

// NewQuestion is what MistServer asks when a viewer with a key comes from an address. It asks again about a session that runs
// when rerun says so.
func NewQuestion(f Framing, key string, from netip.Addr, rerun bool) Question {
	body := Stream + "\n" + from.String() + "\n" + key + "\nHLS\nhttp://127.0.0.1:8080/hls/" + Stream + "/index.m3u8?tkn=" + key + "\n" +
		mist.SessionID(mist.DefaultSessionMode, Stream, from, key, "HLS")
	if !rerun {
		body += "\nfalse" // the seventh line stands on the first ask only
	}
	var text []byte
	if f == Wire || f == WireUnnamed {
		uuid := uuidPlace
		if f == WireUnnamed {
			uuid = ""
		}
		text, _ = wire.AppendCall(nil, &wire.Call{ // no text of it is too long
			Type: "USER_NEW", UUID: uuid, Instance: instance, Name: NodeName, Default: "false", UnixMillis: 1795327221030, PID: 30077, Body: []byte(body),
		})
	} else {
		connection := "close"
		if f == HTTPKept {
			connection = "keep-alive"
		}
		text = []byte("POST /trigger HTTP/1.1\r\nAccept: */*\r\nConnection: " + connection + "\r\nContent-Length: " + strconv.Itoa(len(body)) +
			"\r\nContent-Type: text/plain\r\nDate: Sun, 22 Nov 2026 06:00:21 +0000\r\nHost: 127.0.0.1:4280\r\nUser-Agent: MistServer/3.10\r\n" +
			"X-Attempt: 1\r\nX-Instance: " + instance + "\r\nX-Name: " + NodeName + "\r\nX-PID: 30077\r\nX-Trigger: USER_NEW\r\n" +
			"X-Trigger-UUID: " + uuidPlace + "\r\nX-Trigger-UnixMillis: 1795327221030\r\nX-Version: 3.10\r\n\r\n" + body)
	}
	return Question{text, bytes.Index(text, []byte(uuidPlace))}
}

// NodeName is the MistServer that asks, instance its process.
const NodeName, instance = "edge-1", "ugaTKwbv^DVkjjr^"

// asked counts all asks of this process, so that each has a UUID of its own. It begins at random: a service that outlives this
// process remembers events.
var asked atomic.Uint64

// appendTo appends the question with a UUID that no other ask has.
func (q Question) appendTo(b []byte) []byte {
	b = append(b[:0], q.text...)
	if q.uuidAt < 0 {
		return b
	}
	uuid := b[q.uuidAt : q.uuidAt+len(uuidPlace)]
	n := asked.Add(1)
	for i := range uuid {
		uuid[len(uuid)-1-i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	return b
}

// Questions are asked one after the other, by whoever asks next.
type Questions struct {
	list []Question
	once bool
	next atomic.Int64
}

// Again are questions that are asked over and over.
func Again(list []Question) *Questions { return &Questions{list: list} }

// Once are questions of which each is asked once.
func Once(list []Question) *Questions { return &Questions{list: list, once: true} }

// take is the next question; none when all were asked.
func (q *Questions) take() (Question, bool) {
	n := int(q.next.Add(1) - 1)
	if q.once && n >= len(q.list) {
		return Question{}, false
	}
	return q.list[n%len(q.list)], true
}

// Viewer is the address of the n-th viewer.
func Viewer(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}
