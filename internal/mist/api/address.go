package api

import (
	"errors"
	"net"
	neturl "net/url"
	"strings"
)

// A URL that cannot be read is never quoted, nor is what net/url says of it: either may hold a password.
var (
	errURL      = errors.New("not the URL of a MistServer: expected udp://host:port, or http(s)://user:password@host:port")
	errUDPParts = errors.New("a udp URL has a host and a port, and nothing else")
	errListURL  = errors.New(`the URL for lists: expected http(s)://user:password@host:port or "none", and only beside a udp URL`)
)

const (
	defaultPort = "4242"
	apiPath     = "/api2"
)

// address is a MistServer's URL, taken apart.
type address struct {
	scheme, host, port string
	path               string // before apiPath: a reverse proxy's
	user, password     string
}

func parseAddress(url string) (address, error) {
	u, err := neturl.Parse(url)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return address{}, errURL
	}
	at := address{scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	if at.port == "" {
		at.port = defaultPort
	}
	at.path = strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), apiPath)
	switch at.scheme {
	case "udp":
		if at.path != "" || u.User != nil {
			return address{}, errUDPParts
		}
	case "http", "https":
		at.user = u.User.Username()
		at.password, _ = u.User.Password()
	default:
		return address{}, errURL
	}
	return at, nil
}

// hostPort is what is dialled.
func (a address) hostPort() string { return net.JoinHostPort(a.host, a.port) }

// String is the URL without its user and password.
func (a address) String() string { return a.scheme + "://" + a.hostPort() + a.path }
