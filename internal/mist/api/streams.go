package api

import (
	"context"
	"fmt"
	"math"
)

// ActiveStream is a stream that has a source running, with its counts of a moment ago.
type ActiveStream struct {
	Name                     string
	Viewers, Inputs, Outputs int
	Tags                     []string
}

// ActiveStreams lists the streams that are active, wildcard instances by their full names (live+a), in MistServer's
// order. Its error matches [ErrNotReachable], [ErrReply], [ErrLogin] or the context's.
func (c *Client) ActiveStreams(ctx context.Context) ([]ActiveStream, error) {
	reply, err := c.do(ctx, questionStreams, map[string]any{"active_streams": map[string]any{
		"fields": []string{"viewers", "inputs", "outputs", "tags"},
	}})
	if err != nil {
		return nil, c.fault("active streams", err)
	}
	streams, err := parseActiveStreams(reply)
	return streams, c.fault("active streams", err)
}

func parseActiveStreams(reply string) ([]ActiveStream, error) {
	s := scanner{text: reply}
	if err := answer(&s, "active_streams"); err != nil {
		return nil, err
	}
	if s.null() {
		return nil, nil
	}
	data := 0
	columns := make(map[string]int, 4)
	wide := 0
	s.object(func(name string) bool {
		switch name {
		case "data": // comes before the names of its columns, and not at all when there is no stream (source)
			s.peek()
			data = s.at
			s.skip()
		case "fields":
			wide = s.columns(columns)
		default:
			s.skip()
		}
		return true
	})
	if s.problem != "" {
		return nil, s.err()
	}
	if s = (scanner{text: reply, at: data}); data == 0 || s.null() {
		return nil, nil
	}
	var names [maxColumns]string
	for _, name := range [...]string{"viewers", "inputs", "outputs", "tags"} {
		i, ok := columns[name]
		if !ok {
			return nil, fmt.Errorf("%w: a list without %s", ErrReply, name)
		}
		names[i] = name
	}
	var streams []ActiveStream
	s.object(func(stream string) bool {
		active := ActiveStream{Name: stream}
		i := 0
		s.array(func() {
			name := ""
			if i < wide {
				name = names[i]
			}
			switch name {
			case "viewers":
				active.Viewers = s.amount()
			case "inputs":
				active.Inputs = s.amount()
			case "outputs":
				active.Outputs = s.amount()
			case "tags":
				active.Tags = s.tags()
			default:
				s.skip()
			}
			i++
		})
		if i != wide {
			s.fail("as many columns as fields")
		}
		streams = append(streams, active)
		return true
	})
	if s.problem != "" {
		return nil, s.err()
	}
	return streams, nil
}

// StreamTags is the tags of streams, in MistServer's order: of those that are named, or with no name of all that are active.
// A stream without tags has an entry without tags; a stream need not be active. Its error is as with [Client.Sessions],
// or matches [ErrTooLong].
func (c *Client) StreamTags(ctx context.Context, streams ...string) (map[string][]string, error) {
	all := make(map[string][]string, len(streams))
	if len(streams) == 0 {
		return all, c.fault("stream tags", c.streamTags(ctx, true, all))
	}
	for len(streams) > 0 {
		// As many as fit a datagram, one at least.
		n, size := 0, len(`{"stream_tags":[]}`)
		for n < len(streams) && (n == 0 || size+textLength(streams[n])+1 <= maxDatagram) {
			size += textLength(streams[n]) + 1
			n++
		}
		if err := c.streamTags(ctx, streams[:n], all); err != nil {
			return nil, c.fault("stream tags", err)
		}
		streams = streams[n:]
	}
	return all, nil
}

func (c *Client) streamTags(ctx context.Context, which any, into map[string][]string) error {
	reply, err := c.do(ctx, questionTags, map[string]any{"stream_tags": which})
	if err != nil {
		return err
	}
	return parseStreamTags(reply, into)
}

func parseStreamTags(reply string, into map[string][]string) error {
	s := scanner{text: reply}
	if err := answer(&s, "stream_tags"); err != nil || s.null() {
		return err
	}
	s.object(func(stream string) bool {
		into[stream] = s.tags()
		return true
	})
	return s.err()
}

// tags reads a list of texts; null is none.
func (s *scanner) tags() []string {
	if s.null() {
		return nil
	}
	var tags []string
	s.array(func() { tags = append(tags, s.str()) })
	return tags
}

// amount reads how many there are of something.
func (s *scanner) amount() int {
	n := s.number()
	if n < 0 || n > math.MaxInt32 {
		s.fail("a count")
		return 0
	}
	return int(n)
}
