package misttest

import (
	"encoding/json"
	"net"
	"slices"
)

const (
	// udpBuffer is what the server has room for at first.
	udpBuffer = 2048
	// udpLargest is the largest datagram there is: a reply that does not fit is not sent.
	udpLargest = 65_507
)

// serveUDP is the UDP API: one JSON object a datagram, with an answer that means received.
func (s *Server) serveUDP(p *process) {
	packet := make([]byte, udpLargest+1)
	for {
		n, from, err := p.udp.ReadFrom(packet)
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.process == p {
			s.received(slices.Clone(packet[:n]), from)
		}
		s.mu.Unlock()
	}
}

func (s *Server) received(packet []byte, from net.Addr) {
	if s.random.Float64() < s.lossIn {
		return
	}
	if len(packet) > s.buffer {
		// It is written past the end of the buffer, which is doubled only then; its content is lost, without an answer.
		s.corrupt = true
		s.buffer *= 2
		s.options.Log.Warn("datagram is larger than the buffer: memory corruption likely", "bytes", len(packet))
		return
	}
	answer, err := json.Marshal(s.call("udp", packet))
	if err != nil || len(answer) > udpLargest || s.random.Float64() < s.lossOut {
		return
	}
	udp := s.process.udp
	s.inProcess(s.timing.Answer.pick(s.random), func() { _, _ = udp.WriteTo(answer, from) })
}
