package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"

	"authhook/internal/mist/api"
	"authhook/internal/mist/guard"
)

type mistCommand struct {
	Install   mistInstallCommand   `cmd:"" help:"Put authhook's triggers into a running MistServer, beside those of others."`
	Uninstall mistUninstallCommand `cmd:"" help:"Take authhook's triggers out again."`
	Doctor    mistDoctorCommand    `cmd:"" help:"Say what in a MistServer lets somebody past authhook, and what to do about it."`
	Sessions  mistSessionsCommand  `cmd:"" help:"List who is watching."`
	End       mistEndCommand       `cmd:"" help:"End sessions now. Their players may come back unless their right is taken away."`
}

// mistServer is a MistServer that a command speaks to.
type mistServer struct {
	mistSetting
	*api.Client
}

// servers makes the clients of all of them. Nothing is sent yet.
func (f *mistFlags) servers() (servers []mistServer, closeAll func(), err error) {
	settings, err := f.mistSettings()
	if err != nil {
		return nil, nil, err
	}
	if len(settings) == 0 {
		return nil, nil, wrongSetting("--mist names no MistServer: say where its API is, such as udp://127.0.0.1:4242")
	}
	closeAll = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	for _, setting := range settings {
		client, err := setting.open()
		if err != nil {
			closeAll()
			return nil, nil, wrongSetting("--mist: %s", err)
		}
		servers = append(servers, mistServer{setting, client})
	}
	return servers, closeAll, nil
}

// title is how a person is told which MistServer it is.
func (s *mistServer) title() string {
	if s.name == "" {
		return s.String()
	}
	return s.name + " (" + s.String() + ")"
}

// node is the name under which its sessions are known.
func (s *mistServer) node(ctx context.Context) string {
	if s.name != "" {
		return s.name
	}
	if config, err := s.Config(ctx); err == nil && config.ServerName != "" {
		return config.ServerName
	}
	return nodeWithoutName
}

// local says whether it runs on this machine, as far as its address tells.
func (s *mistServer) local() bool {
	u, err := url.Parse(s.url)
	if err != nil {
		return false
	}
	host := u.Hostname()
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// ways are clients that go one way each, to say which works.
func (s *mistServer) ways() (w guard.Ways, closeAll func()) {
	w.All = s.Client
	over := func(url string, o api.Options) *api.Client {
		c, err := api.New(url, o)
		if err != nil {
			return nil
		}
		return c
	}
	scheme, rest, _ := strings.Cut(s.url, "://")
	switch {
	case scheme != "udp":
		w.HTTP = over(s.url, api.Options{})
	case s.lists == noMist:
	case s.lists != "":
		w.HTTP = over(s.lists, api.Options{})
	default:
		w.HTTP = over("http://"+rest, api.Options{})
	}
	if scheme == "udp" {
		w.UDP = over(s.url, api.Options{ListURL: noMist})
	}
	return w, func() {
		for _, c := range []*api.Client{w.UDP, w.HTTP} {
			if c != nil {
				_ = c.Close()
			}
		}
	}
}

// onEach does something with one MistServer after the other. What fails with one does not keep the others waiting.
func onEach(servers []mistServer, do func(*mistServer) error) error {
	var failed []error
	for i := range servers {
		if err := do(&servers[i]); err != nil {
			failed = append(failed, explained(err))
		}
	}
	return errors.Join(failed...)
}

// explained adds to an error of the API what to do about it.
func explained(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, api.ErrLogin):
		return fmt.Errorf("%w: give user and password in --mist (http://user:password@host:4242), or --mist-lists beside a udp: URL; --mist-file keeps them out of sight", err)
	case errors.Is(err, api.ErrTooLong):
		return fmt.Errorf("%w: say with --mist-lists where it answers HTTP", err)
	case errors.Is(err, api.ErrNotReachable):
		return fmt.Errorf("%w: is MistServer running there? --mist says where its API is", err)
	}
	return err
}

// printf writes to a person, who cannot be told of its error.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
