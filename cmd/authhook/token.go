package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"authhook/internal/catalog"
	"authhook/internal/credential"
	"authhook/internal/policy"
	"authhook/internal/store"
)

type tokenCommand struct {
	databaseFlags
	User    string          `arg:"" help:"The user the token is for."`
	Streams *string         `placeholder:"STREAM,…" help:"The streams it is good for: names, or prefixes with a * at the end. All when left out."`
	For     policy.Duration `default:"0s" placeholder:"TIME" help:"How long it is good, such as 24h or 30d. A key without it has no end; a JWT has 1h."`
	Publish bool            `help:"It permits publishing too."`
	Address netip.Addr      `placeholder:"ADDRESS" help:"Make no key, but bind this address to the user, for players that can carry no token."`

	Create bool   `group:"The user" help:"Make the user if there is none."`
	Plan   string `group:"The user" placeholder:"PLAN" help:"Also give the user this plan for the same time, as an administrator's gift."`

	JWT     bool   `name:"jwt" group:"JWT" help:"Sign a JWT instead of making a key. Nothing is stored."`
	KID     string `name:"kid" group:"JWT" placeholder:"KID" help:"Sign with this HS256 key of the catalog. The first when left out."`
	KeyFile string `group:"JWT" placeholder:"FILE" help:"Sign with the private key in this PEM file."`
}

// Run makes the token and prints it, alone on its line, so that a script can take it.
func (c *tokenCommand) Run(ctx context.Context, s streams) (err error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if c.JWT && (c.Create || c.Plan != "" || c.Address.IsValid()) {
		return wrongSetting("--jwt stores nothing: it cannot go with --create, --plan or --address")
	}
	patterns, err := c.patterns()
	if err != nil {
		return err
	}
	if c.Address.IsUnspecified() || c.Address.Zone() != "" {
		return wrongSetting("--address %s is no viewer's address", c.Address)
	}
	if c.JWT && c.KeyFile != "" {
		return c.sign(ctx, s, nil, patterns, now)
	}
	db, err := c.openThere(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if c.JWT {
		return c.sign(ctx, s, db, patterns, now)
	}
	return c.store(ctx, s, db, patterns, now)
}

// patterns are the streams that the token is good for. An empty text is a mistake, such as a variable that is not set: it must
// not come to mean every stream.
func (c *tokenCommand) patterns() ([]string, error) {
	if c.Streams == nil {
		return nil, nil
	}
	patterns := strings.Split(*c.Streams, ",")
	for _, p := range patterns {
		if err := catalog.CheckPattern(p); err != nil {
			return nil, wrongSetting("--streams: %s", err)
		}
	}
	return patterns, nil
}

// until is when the token ends; zero: never.
func (c *tokenCommand) until(now time.Time) time.Time {
	if c.For == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(c.For))
}

func (c *tokenCommand) store(ctx context.Context, s streams, db database, patterns []string, now time.Time) error {
	ctx = store.WithActor(ctx, "cli")
	if c.Plan != "" {
		in, err := db.Catalog(ctx)
		if err != nil {
			return fmt.Errorf("read the catalog: %w", err)
		}
		if in.Plan(c.Plan) == nil {
			return wrongSetting("--plan %s: the catalog has no such plan", c.Plan)
		}
	}
	if c.Create {
		if err := ensureUser(ctx, db, c.User); err != nil {
			return err
		}
	}
	key := ""
	made := policy.Credential{Kind: policy.CredentialKey, User: c.User, Streams: patterns, Until: c.until(now), Publish: c.Publish}
	hash := policy.CredentialHash{}
	if c.Address.IsValid() {
		made.Kind, hash = policy.CredentialAddress, policy.HashAddress(c.Address)
	} else {
		key = credential.NewKey()
		hash = policy.HashKey(key)
	}
	if _, err := db.AddCredential(ctx, hash, made, now); errors.Is(err, store.ErrNotFound) {
		return wrongSetting("there is no user %q: --create makes one", c.User)
	} else if err != nil {
		return err
	}
	if c.Plan != "" {
		if _, err := db.AddEntitlement(ctx, c.User, policy.Entitlement{Plan: c.Plan, From: now, Until: c.until(now), Source: "admin"}); err != nil {
			return err
		}
	}
	if key == "" {
		_, err := fmt.Fprintf(s.out, "%s is bound to %s\n", c.Address, c.User)
		return err
	}
	_, err := fmt.Fprintln(s.out, key)
	return err
}

// ensureUser makes a user where there is none, and leaves one that is there as it is.
func ensureUser(ctx context.Context, db database, user string) error {
	_, _, err := db.PutUser(ctx, store.UserChange{ID: user, Status: policy.ActiveUser, IfVersion: new(int64)})
	if errors.Is(err, store.ErrConflict) {
		return nil // there is one
	}
	return err
}

// sign signs a JWT with a key of the catalog, or with one from a file.
func (c *tokenCommand) sign(ctx context.Context, s streams, db database, patterns []string, now time.Time) error {
	key := credential.SigningKey{KID: c.KID}
	var config policy.JWT
	if c.KeyFile != "" {
		pem, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return wrongSetting("--key-file: %s", err)
		}
		key.PrivateKey = string(pem)
	} else {
		in, err := db.Catalog(ctx)
		if err != nil {
			return fmt.Errorf("read the catalog: %w", err)
		}
		config = in.JWT
		for _, k := range config.Keys {
			if k.Secret != "" && (c.KID == "" || c.KID == k.KID) {
				key.KID, key.Secret = k.KID, k.Secret
				break
			}
		}
		if key.Secret == "" {
			return wrongSetting("the catalog has no HS256 key to sign with: add one to its jwt.keys, or give --key-file")
		}
	}
	claims := policy.Credential{User: c.User, Streams: patterns, Until: c.until(now), Publish: c.Publish}
	if claims.Until.IsZero() {
		claims.Until = now.Add(time.Hour)
	}
	token, err := credential.SignJWT(key, claims, config.Issuer, config.Audience)
	if err != nil {
		return wrongSetting("%s", err)
	}
	_, err = fmt.Fprintln(s.out, token)
	return err
}
