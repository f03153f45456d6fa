package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// userNew is a call as authhook-trigger makes it: the last line is empty, and stays.
func userNew() *Call {
	return &Call{
		Type: "USER_NEW", UUID: "0b2c6c6c-45d7-4a52-9f3e-0c8d2a1b3c4d", Instance: "a1b2c3", Name: "edge-1", Default: "false",
		UnixMillis: 1767225600123, PID: 4711,
		Body: []byte("live+a\n192.0.2.7\nak_abc\nHLS\nhttp://example.com/hls/live+a/index.m3u8?tkn=ak_abc\nff\n"),
	}
}

// parse reads a whole call, as the service does.
func parse(b []byte) (*Call, error) {
	size, err := CallSize(b)
	if err != nil {
		return nil, err
	}
	if len(b) != PrefixSize+size {
		return nil, ErrMalformed
	}
	return ParseCall(b[PrefixSize:])
}

func TestCallIsReadAsItWasWritten(t *testing.T) {
	field := strings.Repeat("x", MaxField)
	for name, c := range map[string]*Call{
		"usual":           userNew(),
		"nothing":         {},
		"any bytes":       {Type: "\x00\xff", Default: "\n", Body: []byte("\n\x00\xff\r\n")},
		"largest":         {Type: field, UUID: field, Instance: field, Name: field, Default: field, Body: bytes.Repeat([]byte{'b'}, MaxBody)},
		"numbers' ends":   {UnixMillis: math.MinInt64, PID: math.MaxInt},
		"too large":       {Type: "USER_NEW", TooLarge: true, Body: []byte("cut")},
		"negative":        {UnixMillis: -1, PID: -1},
		"default differs": {Type: "PUSH_REWRITE", Name: "Default", Default: "Name"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := AppendCall([]byte("kept"), c)
			if err != nil {
				t.Fatal(err)
			}
			b, found := bytes.CutPrefix(b, []byte("kept"))
			if !found {
				t.Fatal("what stood before the call is gone")
			}
			if len(b) > MaxCall {
				t.Fatalf("%d bytes, MaxCall is %d", len(b), MaxCall)
			}
			got, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			clear(b) // the call keeps nothing of it
			want := *c
			got.Body, want.Body = append([]byte{}, got.Body...), append([]byte{}, want.Body...)
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("got  %+v\nwant %+v", got, &want)
			}
		})
	}
}

func TestBodyOverTheLimitIsCutAndTold(t *testing.T) {
	c := userNew()
	c.Body = bytes.Repeat([]byte{'b'}, MaxBody+1)
	b, err := AppendCall(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !got.TooLarge || len(got.Body) != MaxBody {
		t.Errorf("TooLarge %v with %d bytes, want true with %d", got.TooLarge, len(got.Body), MaxBody)
	}
}

func TestTextOverTheLimitIsAnError(t *testing.T) {
	over := strings.Repeat("x", MaxField+1)
	for _, c := range []*Call{{Type: over}, {UUID: over}, {Instance: over}, {Name: over}, {Default: over}} {
		if b, err := AppendCall(nil, c); !errors.Is(err, ErrTooLarge) || len(b) != 0 {
			t.Errorf("%d bytes, error %v", len(b), err)
		}
	}
}

// spoilt is a usual call with a change made to its bytes.
func spoilt(change func(b []byte) []byte) []byte {
	b, err := AppendCall(nil, userNew())
	if err != nil {
		panic(err)
	}
	return change(b)
}

func TestWhatIsNoCall(t *testing.T) {
	resize := func(b []byte) []byte { // makes the prefix tell b's size
		binary.BigEndian.PutUint32(b[4:], uint32(len(b)-PrefixSize))
		return b
	}
	const typeAt = PrefixSize + fixedSize
	for name, x := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":             {nil, ErrForeign},
		"part of a prefix":    {[]byte("ahC\x01\x00\x00\x00"), ErrForeign},
		"HTTP":                {[]byte("POST /trigger HTTP/1.1\r\n"), ErrForeign},
		"an answer":           {spoilt(func(b []byte) []byte { b[2] = 'A'; return b }), ErrForeign},
		"version 0":           {spoilt(func(b []byte) []byte { b[3] = 0; return b }), ErrVersion},
		"next version":        {spoilt(func(b []byte) []byte { b[3]++; return b }), ErrVersion},
		"4 GiB":               {[]byte("ahC\x01\xff\xff\xff\xff"), ErrTooLarge},
		"over the limit":      {binary.BigEndian.AppendUint32([]byte("ahC\x01"), MaxCall-PrefixSize+1), ErrTooLarge},
		"one byte short":      {spoilt(func(b []byte) []byte { return b[:len(b)-1] }), ErrMalformed},
		"one byte long":       {spoilt(func(b []byte) []byte { return append(b, 0) }), ErrMalformed},
		"empty":               {resize([]byte("ahC\x01\x00\x00\x00\x00")), ErrMalformed},
		"numbers cut off":     {spoilt(func(b []byte) []byte { return resize(b[:typeAt-1]) }), ErrMalformed},
		"no texts":            {spoilt(func(b []byte) []byte { return resize(b[:typeAt]) }), ErrMalformed},
		"length cut off":      {spoilt(func(b []byte) []byte { return resize(b[:typeAt+1]) }), ErrMalformed},
		"text cut off":        {spoilt(func(b []byte) []byte { return resize(b[:typeAt+5]) }), ErrMalformed},
		"last text cut off":   {spoilt(func(b []byte) []byte { return resize(b[:len(b)-len(userNew().Body)-1]) }), ErrMalformed},
		"text over the end":   {spoilt(func(b []byte) []byte { b[typeAt] = 2; return b }), ErrMalformed},
		"text over 1 KiB":     {spoilt(func(b []byte) []byte { b[typeAt] = 0xff; return b }), ErrTooLarge},
		"unknown flag":        {spoilt(func(b []byte) []byte { b[PrefixSize] = 2; return b }), ErrMalformed},
		"body over the limit": {spoilt(func(b []byte) []byte { return resize(append(b, make([]byte, MaxBody)...)) }), ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(x.b)
			if !errors.Is(err, x.want) || c != nil {
				t.Errorf("call %+v, error %v, want %v", c, err, x.want)
			}
		})
	}
}

func TestAnswerIsReadAsItWasWritten(t *testing.T) {
	for _, answer := range []string{"", "true", "false", "\n\x00", strings.Repeat("u", MaxAnswer)} {
		b, err := AppendAnswer([]byte("kept"), []byte(answer))
		if err != nil {
			t.Fatal(err)
		}
		b, found := bytes.CutPrefix(b, []byte("kept"))
		size, err := AnswerSize(b)
		if err != nil || !found || size != len(answer) || string(b[PrefixSize:]) != answer {
			t.Errorf("%.20q: size %d, error %v, %d bytes", answer, size, err, len(b))
		}
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	if b, err := AppendAnswer(nil, make([]byte, MaxAnswer+1)); !errors.Is(err, ErrTooLarge) || len(b) != 0 {
		t.Errorf("over the limit: %d bytes, error %v", len(b), err)
	}
	for b, want := range map[string]error{
		"":                            ErrForeign,
		"ahA\x01\x00\x00\x00":         ErrForeign,
		"true true":                   ErrForeign,
		"HTTP/1.1 200 OK\r\n":         ErrForeign,
		"ahC\x01\x00\x00\x00\x04true": ErrForeign,
		"ahA\x02\x00\x00\x00\x04true": ErrVersion,
		"ahA\x01\x00\x01\x00\x01":     ErrTooLarge,
		"ahA\x01\xff\xff\xff\xfftrue": ErrTooLarge,
	} {
		if size, err := AnswerSize([]byte(b)); !errors.Is(err, want) {
			t.Errorf("%q: size %d, error %v, want %v", b, size, err, want)
		}
	}
}

func TestAllocations(t *testing.T) {
	c := userNew()
	buf := make([]byte, 0, MaxCall)
	if n := testing.AllocsPerRun(100, func() { buf, _ = AppendCall(buf[:0], c) }); n != 0 {
		t.Errorf("AppendCall: %v allocations", n)
	}
	// The call, its texts, its body.
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseCall(buf[PrefixSize:]) }); n > 3 {
		t.Errorf("ParseCall: %v allocations", n)
	}
}

// FuzzCall reads any bytes as a call: what can be read is within the limits, and is the same when written again.
func FuzzCall(f *testing.F) {
	f.Add(spoilt(func(b []byte) []byte { return b }))
	f.Add(spoilt(func(b []byte) []byte { return b[:len(b)/2] }))
	f.Add(spoilt(func(b []byte) []byte { b[PrefixSize] = flagTooLarge; return b }))
	f.Add([]byte("ahC\x01\xff\xff\xff\xff"))
	f.Add([]byte("POST / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if size, err := CallSize(b); err == nil && (size < 0 || PrefixSize+size > MaxCall) {
			t.Fatalf("size %d", size)
		}
		// Without the prefix, so that the fuzzer need not find the size that fits.
		c, err := ParseCall(b)
		if err != nil {
			return
		}
		for _, text := range []string{c.Type, c.UUID, c.Instance, c.Name, c.Default} {
			if len(text) > MaxField {
				t.Fatalf("a text of %d bytes", len(text))
			}
		}
		if len(c.Body) > MaxBody {
			t.Fatalf("a body of %d bytes", len(c.Body))
		}
		again, err := AppendCall(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again[PrefixSize:], b) {
			t.Errorf("read %q, written again %q", b, again[PrefixSize:])
		}
	})
}

// FuzzAnswer reads any bytes as an answer's prefix.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("ahA\x01\x00\x00\x00\x04true"))
	f.Add([]byte("ahA\x01\x00\x00\x00\x00"))
	f.Add([]byte("ahA\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := AnswerSize(b)
		if err != nil {
			return
		}
		if size < 0 || size > MaxAnswer {
			t.Fatalf("size %d", size)
		}
		if again, _ := AppendAnswer(nil, make([]byte, size)); !bytes.Equal(again[:PrefixSize], b[:PrefixSize]) {
			t.Errorf("read %q, written again %q", b[:PrefixSize], again[:PrefixSize])
		}
	})
}
