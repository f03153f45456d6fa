package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"authhook/client"
	"authhook/internal/mist/api"
	"authhook/internal/mist/guard"
)

type mistSessionsCommand struct {
	mistFlags
	Stream []string `env:"-" sep:"," placeholder:"NAME" help:"Only of these streams; live stands for live+a too."`
	Node   []string `env:"-" sep:"," placeholder:"NAME" help:"Only of these MistServers, by their names."`
	All    bool     `env:"-" help:"List inputs and outputs too."`
	Full   bool     `env:"-" help:"Write whole session ids."`
	JSON   bool     `name:"json" env:"-" help:"Write JSON, for machines, with whole session ids."`

	Server     string `group:"A running service" placeholder:"URL" help:"Say whose the sessions are and why they were let in, too, as the service at this URL knows, such as http://127.0.0.1:4280."`
	APIKey     string `group:"A running service" placeholder:"KEY" help:"A key of the API that permits to read, or the service's admin token."`
	APIKeyFile string `group:"A running service" placeholder:"FILE" help:"A file that holds the key."`
}

// listedSession is a session of a node's list.
type listedSession struct {
	Node      string `json:"node"`
	Session   string `json:"session"`
	Stream    string `json:"stream"`
	Address   string `json:"address"`
	Connector string `json:"connector"`
	// What the service knows of it; all empty where it does not know it.
	User   string `json:"user,omitempty"`
	Reason string `json:"reason,omitempty"`
	Plan   string `json:"plan,omitempty"`

	at *mistServer
}

// Run lists who was there a second ago, viewers first by stream.
func (c *mistSessionsCommand) Run(ctx context.Context, s streams) error {
	servers, closeAll, err := c.servers()
	if err != nil {
		return err
	}
	defer closeAll()
	// What can be listed is, although another MistServer is away.
	list, failed := listSessions(ctx, servers, c.Node)
	list = slices.DeleteFunc(list, func(l listedSession) bool {
		return !c.All && !l.viewer() || len(c.Stream) > 0 && !slices.ContainsFunc(c.Stream, l.isOf)
	})
	if c.Server != "" {
		failed = errors.Join(failed, c.explain(ctx, list))
	}
	if c.JSON {
		return errors.Join(writeJSON(s.out, append([]listedSession{}, list...)), failed)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	printf(w, "node\tsession\tstream\taddress\tconnector")
	if c.Server != "" {
		printf(w, "\tuser\treason\tplan")
	}
	printf(w, "\n")
	for _, l := range list {
		id := l.Session
		if !c.Full {
			id = shortID(id)
		}
		printf(w, "%s\t%s\t%s\t%s\t%s", guard.Printable(l.Node), guard.Printable(id), guard.Printable(l.Stream), guard.Printable(l.Address), guard.Printable(l.Connector))
		if c.Server != "" {
			printf(w, "\t%s\t%s\t%s", guard.Printable(cmp.Or(l.User, "-")), guard.Printable(cmp.Or(l.Reason, "unknown")), guard.Printable(cmp.Or(l.Plan, "-")))
		}
		printf(w, "\n")
	}
	return errors.Join(w.Flush(), failed)
}

// sessionsAtOnce is how many sessions one answer of the API holds at most.
const sessionsAtOnce = 1000

// explain adds what the service knows of the sessions, node by node.
func (c *mistSessionsCommand) explain(ctx context.Context, list []listedSession) (err error) {
	service, err := (&serviceFlags{Server: c.Server, APIKey: c.APIKey, APIKeyFile: c.APIKeyFile}).call()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close()) }()
	rest := make(map[string]map[string]*listedSession)
	for i := range list {
		of := rest[list[i].Node]
		if of == nil {
			of = map[string]*listedSession{}
			rest[list[i].Node] = of
		}
		of[list[i].Session] = &list[i]
	}
	limit, open := sessionsAtOnce, client.SessionOpen
	for node, of := range rest {
		p := client.ListSessionsParams{Node: &node, State: &open, Limit: &limit}
		for {
			answer, err := service.ListSessionsWithResponse(ctx, &p)
			if err != nil {
				return err
			}
			page, err := answered(answer.JSON200, func(p *client.SessionPage) bool { return p.Items != nil })
			if err != nil {
				return err
			}
			for _, known := range page.Items {
				if l := of[known.ID]; l != nil {
					l.User, l.Reason, l.Plan = known.User, string(known.Reason), known.Plan
				}
			}
			if page.Next == "" {
				break
			}
			p.Cursor = &page.Next
		}
	}
	return nil
}

func (l *listedSession) viewer() bool {
	s := api.Session{ID: l.Session}
	return s.Viewer()
}

// isOf says whether it is of a stream, or of an instance of it.
func (l *listedSession) isOf(stream string) bool {
	return l.Stream == stream || strings.HasPrefix(l.Stream, strings.TrimSuffix(stream, "+")+"+")
}

// shortID is enough of a session id to find it by, and a digit more where a letter stands before it.
func shortID(id string) string {
	if len(id) > 0 && strings.Contains("IOU", id[:1]) {
		return id[:min(len(id), 9)]
	}
	return id[:min(len(id), 8)]
}

// listSessions are those of all MistServers, or of the named ones, in the order of node and stream.
func listSessions(ctx context.Context, servers []mistServer, nodes []string) ([]listedSession, error) {
	var all []listedSession
	var known []string
	err := onEach(servers, func(m *mistServer) error {
		list, err := m.Sessions(ctx)
		if err != nil {
			known = append(known, m.name)
			return err
		}
		node := m.node(ctx)
		known = append(known, node)
		if len(nodes) > 0 && !slices.Contains(nodes, node) {
			return nil
		}
		for _, s := range list.Sessions {
			all = append(all, listedSession{Node: node, Session: s.ID, Stream: s.Stream, Address: s.Host, Connector: s.Connector, at: m})
		}
		return nil
	})
	for _, node := range nodes {
		if !slices.Contains(known, node) && err == nil {
			err = wrongSetting("--node %q: there is no such MistServer among %s", node, strings.Join(known, ", "))
		}
	}
	slices.SortStableFunc(all, func(a, b listedSession) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Session, b.Session))
	})
	return all, err
}

type mistEndCommand struct {
	mistFlags
	Session []string      `arg:"" help:"Session ids, or beginnings of listed ones, as 'authhook mist sessions' writes them."`
	Node    []string      `env:"-" sep:"," placeholder:"NAME" help:"Only at these MistServers, by their names."`
	Wait    time.Duration `env:"-" default:"10s" help:"How long a session may stay in the list."`
	Look    time.Duration `env:"-" default:"3s" help:"How long to look whether the player comes back; 0s for not at all."`
}

const (
	// shortestPrefix is how much of a session id must be given.
	shortestPrefix = 4
	wholeID        = 64
)

// ending is a session that is to end at a MistServer.
type ending struct {
	id     string
	at     *mistServer
	listed *listedSession // nil: it is in no list
}

// Run ends the sessions, and stays until they are gone.
func (c *mistEndCommand) Run(ctx context.Context, s streams) error {
	if c.Wait <= 0 || c.Look < 0 {
		return wrongSetting("--wait must be above zero, --look not below")
	}
	servers, closeAll, err := c.servers()
	if err != nil {
		return err
	}
	defer closeAll()
	list, err := listSessions(ctx, servers, c.Node)
	if err != nil {
		return err
	}
	chosen, err := c.choose(list, servers)
	if err != nil {
		return err
	}
	watching := 0
	var failed []error
	for i := range servers {
		of := slices.DeleteFunc(slices.Clone(chosen), func(e ending) bool { return e.at != &servers[i] })
		if len(of) == 0 {
			continue
		}
		ids := make([]string, len(of))
		for i, e := range of {
			ids[i] = e.id
		}
		fates, err := guard.End(ctx, servers[i], ids, guard.Patience{Gone: c.Wait, Back: c.Look})
		if err != nil {
			failed = append(failed, explained(err))
		}
		for _, e := range of {
			line, gone := e.tell(fates[e.id])
			printf(s.out, "%s\n", line)
			if !gone {
				watching++
			}
		}
	}
	if watching > 0 {
		failed = append(failed, fmt.Errorf("%d of %d sessions did not end for good: take the right away first (a hold, an entitlement that ends, a key that is withdrawn), and authhook ends them by itself", watching, len(chosen)))
	} else if len(failed) == 0 {
		printf(s.out, "Their players may come back, and are asked about anew: who is not to watch must lose the right to, not the session alone.\n")
	}
	return errors.Join(failed...)
}

// tell says what became of it, and whether it is over.
func (e *ending) tell(f guard.Fate) (line string, gone bool) {
	name := shortID(e.id)
	if e.listed != nil {
		name = fmt.Sprintf("%s  %s  %s", name, guard.Printable(e.listed.Stream), guard.Printable(e.listed.Address))
	}
	switch {
	case f == guard.Ended && e.listed == nil:
		return name + "  is not listed; if MistServer remembered a denial of it, that is lifted", true
	case f == guard.Ended:
		return name + "  ended", true
	case f == guard.CameBack:
		return name + "  ended, and its player came back: it may still watch", false
	case f == guard.StillListed:
		return name + "  is still listed: it did not end, or its player came back at once", false
	}
	return name + "  was told to end; nothing is known of it since", false
}

// choose finds what is meant. Each text is a whole id, or the beginning of exactly one listed session's.
func (c *mistEndCommand) choose(list []listedSession, servers []mistServer) ([]ending, error) {
	var chosen []ending
	add := func(e ending) {
		if !slices.ContainsFunc(chosen, func(x ending) bool { return x.id == e.id && x.at == e.at }) {
			chosen = append(chosen, e)
		}
	}
	for _, given := range c.Session {
		if len(given) < shortestPrefix {
			return nil, wrongSetting("session %q: give %d digits at least, and as many as tell it from others", given, shortestPrefix)
		}
		var found []*listedSession
		ids := map[string]bool{}
		for i := range list {
			if strings.HasPrefix(list[i].Session, given) {
				found = append(found, &list[i])
				ids[list[i].Session] = true
			}
		}
		whole := (&listedSession{Session: given}).viewer() && len(given) == wholeID
		switch {
		case len(ids) > 1:
			return nil, wrongSetting("session %q is not one: %s", given, candidates(found))
		case len(found) > 0: // at several MistServers, it may be, for the same viewer has the same id there
			for _, l := range found {
				add(ending{l.Session, l.at, l})
			}
		case whole && len(c.Node) == 0:
			for i := range servers {
				add(ending{given, &servers[i], nil})
			}
		default:
			return nil, wrongSetting("session %q is not listed: 'authhook mist sessions' says which are; a denied one needs its whole id", given)
		}
	}
	return chosen, nil
}

func candidates(found []*listedSession) string {
	const most = 5
	var names []string
	for _, l := range found[:min(len(found), most)] {
		names = append(names, fmt.Sprintf("%s (%s, %s)", l.Session[:min(len(l.Session), 16)], guard.Printable(l.Stream), guard.Printable(l.Address)))
	}
	if more := len(found) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
