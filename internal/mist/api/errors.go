package api

import (
	"errors"
	"fmt"
)

// What an exchange can come to, to be matched with errors.Is.
var (
	// ErrNotReachable: nobody answered, or nobody listens.
	ErrNotReachable = errors.New("not reachable")
	// ErrTooLong: the calls do not fit a datagram, and there is no way over HTTP.
	ErrTooLong = errors.New("too long for a datagram")
	// ErrReply: there was a reply, and it is not JSON, is cut, or is not an answer to what was asked.
	ErrReply = errors.New("reply not understood")
	// ErrLogin: MistServer wants a login that the URL does not have, or refused the one it has.
	ErrLogin = errors.New("login refused")
)

// fault is an error of this client: it names the MistServer, and what was being done.
func (c *Client) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("MistServer at %s: %s: %w", c.name, doing, err)
}
