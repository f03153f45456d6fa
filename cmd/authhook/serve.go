package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"authhook/internal/policy"
	"authhook/internal/webhook/admin"
)

type serveCommand struct {
	databaseFlags
	mistFlags
	Listen         string        `default:"127.0.0.1:4280" placeholder:"ADDRESS:PORT" help:"Where to answer HTTP. On an address other than loopback a trigger key is demanded."`
	Socket         string        `placeholder:"PATH" help:"A Unix socket to answer authhook-trigger on."`
	SocketMode     string        `default:"0660" placeholder:"MODE" help:"Who may use the socket, as chmod's octal mode."`
	Catalog        string        `placeholder:"FILE" help:"A catalog to put in force at the start."`
	TriggerKey     string        `placeholder:"KEY" help:"A secret that MistServer's trigger URL must end in: /trigger/KEY. At least 16 characters."`
	TriggerKeyFile string        `placeholder:"FILE" help:"A file that holds the trigger key."`
	AdminToken     string        `placeholder:"TOKEN" help:"A secret that permits everything at /api/v1, for a start: 'authhook keys' makes keys that permit less. At least 24 characters."`
	AdminTokenFile string        `placeholder:"FILE" help:"A file that holds the admin token."`
	OnUnavailable  string        `default:"deny" enum:"deny,allow" placeholder:"deny|allow" help:"The answer while the facts cannot be read: deny or allow. Live sessions are never ended for it."`
	Node           string        `default:"mist" placeholder:"NAME" help:"The name of a MistServer that is configured with none."`
	RedisURL       string        `placeholder:"URL" help:"A Redis that several services share, so that each finds what another has read, and places under plans' limits are given out there: redis://user:password@host:port/number. Give it to all services of a database or to none. It only saves time: whatever becomes of it, answers are right."`
	RedisURLFile   string        `placeholder:"FILE" help:"A file that holds the same."`
	SessionMode    string        `placeholder:"0-15" help:"MistServer's sessionViewerMode (its default is 14). When given, a session id that MistServer would not compute is refused."`
	FactsFresh     time.Duration `default:"1m" help:"How old facts in memory may become before they are read again."`
	FactsStale     time.Duration `default:"10m" help:"How much older facts may become while the database is away; 0s for no older."`
	FactsEntries   int           `default:"200000" help:"For how many users facts are kept in memory."`
	KeepSessions   time.Duration `default:"2160h" help:"How long ended sessions are kept, for looking back. Denied ones are kept for an hour."`
	KeepEvents     time.Duration `default:"2160h" help:"How long the bodies of billing events that are done with are kept, for looking back and for applying them again. 720h at least."`
	LogLevel       string        `default:"info" enum:"debug,info,warn,error" help:"debug, info (a line a decision), warn or error."`
	LogFormat      string        `default:"text" enum:"text,json" help:"text or json."`
	billingFlags
	billingSecrets
}

// Run answers triggers until the context ends.
func (c *serveCommand) Run(ctx context.Context, s streams) error {
	cfg, err := c.settings()
	if err != nil {
		return err
	}
	log, flush := newLog(s.err, c.LogLevel, c.LogFormat)
	defer flush()
	return serve(ctx, cfg, s.out, log)
}

// settings checks everything before anything is begun.
func (c *serveCommand) settings() (*serviceSettings, error) {
	cfg := &serviceSettings{
		listen: c.Listen, socket: c.Socket, node: c.Node,
		allowUnavailable: c.OnUnavailable == "allow",
		keepSessions:     c.KeepSessions, keepEvents: c.KeepEvents,
		factsFresh: c.FactsFresh, factsStale: c.FactsStale, factsEntries: c.FactsEntries,
	}
	var err error
	if cfg.triggerKey, err = triggerKeyFrom(c.TriggerKey, c.TriggerKeyFile); err != nil {
		return nil, err
	}
	if cfg.adminToken, err = secretFrom("admin-token", c.AdminToken, c.AdminTokenFile); err != nil {
		return nil, err
	}
	if cfg.adminToken != "" && len(cfg.adminToken) < admin.ShortestToken {
		return nil, wrongSetting("--admin-token has %d characters: it needs at least %d, such as 'openssl rand -hex 16' makes", len(cfg.adminToken), admin.ShortestToken)
	}
	loopback, err := isLoopback(c.Listen)
	if err != nil {
		return nil, err
	}
	if !loopback && cfg.triggerKey == "" {
		return nil, wrongSetting("--listen %s can be reached from other machines: set --trigger-key, so that only your media servers are answered, or listen on 127.0.0.1", c.Listen)
	}
	mode, err := strconv.ParseUint(c.SocketMode, 8, 32)
	if err != nil || mode > 0o777 {
		return nil, wrongSetting("--socket-mode %q is no octal mode such as 0660", c.SocketMode)
	}
	cfg.socketMode = os.FileMode(mode)
	if c.SessionMode != "" {
		n, err := strconv.Atoi(c.SessionMode)
		if err != nil || n < 0 || n > 15 {
			return nil, wrongSetting("--session-mode %q is not a number from 0 to 15", c.SessionMode)
		}
		cfg.sessionMode = &n
	}
	if cfg.mist, err = c.mistSettings(); err != nil {
		return nil, err
	}
	if cfg.redisURL, err = secretFrom("redis-url", c.RedisURL, c.RedisURLFile); err != nil {
		return nil, err
	}
	if c.KeepSessions < time.Hour {
		return nil, wrongSetting("--keep-sessions %s: sessions must be kept for an hour at least", c.KeepSessions)
	}
	if c.KeepEvents < shortestKeepEvents {
		return nil, wrongSetting("--keep-events %s: billing events must be kept for %s at least, since some are sent again that late", c.KeepEvents, shortestKeepEvents)
	}
	if cfg.providers, err = c.providers(&c.billingSecrets); err != nil {
		return nil, err
	}
	if c.FactsFresh <= 0 || c.FactsStale < 0 || c.FactsEntries <= 0 {
		return nil, wrongSetting("--facts-fresh and --facts-entries must be above zero, --facts-stale not below")
	}
	if c.Catalog != "" {
		var parsed *policy.Catalog
		if parsed, err = readCatalog(c.Catalog); err != nil {
			return nil, err
		}
		cfg.catalog = parsed
	}
	cfg.database = c.open
	return cfg, c.check()
}

// isLoopback says whether only this machine can reach an address.
func isLoopback(listen string) (bool, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false, wrongSetting("--listen %q is not of the form address:port", listen)
	}
	if host == "localhost" {
		return true, nil
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback(), nil
}

// logLevels are the names of levels.
var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}
