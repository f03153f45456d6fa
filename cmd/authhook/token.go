package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"authhook/client"
	"authhook/internal/catalog"
	"authhook/internal/credential"
	"authhook/internal/policy"
	"authhook/internal/webhook/admin"
)

type tokenCommand struct {
	serviceFlags
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
	if err := admin.CheckUserID(c.User); err != nil {
		return err
	}
	if c.Address.IsValid() {
		if err := admin.CheckViewerAddress(c.Address); err != nil {
			return wrongSetting("--address %s %s", c.Address, err)
		}
	}
	if c.JWT && c.KeyFile != "" {
		return c.sign(ctx, s, nil, patterns, now)
	}
	if c.JWT && c.Server != "" {
		return wrongSetting("--jwt signs with a secret of the catalog, and the service at %s shows none: give --key-file, or --database-url instead", c.Server)
	}
	conn, err := c.connect(ctx, c.openThere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if c.JWT {
		return c.sign(ctx, s, conn.db, patterns, now)
	}
	return c.issue(ctx, s, conn, patterns, now)
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

// issue makes the key or the binding, and what else is asked for. An entitlement has no beginning, so that it is in force at
// once also where a service's clock is behind this one.
func (c *tokenCommand) issue(ctx context.Context, s streams, conn *connection, patterns []string, now time.Time) error {
	if c.Plan != "" {
		_, err := conn.GetPlanWithResponse(ctx, c.Plan)
		if isProblem(err, client.ProblemNotFound) {
			return wrongSetting("--plan %s: the catalog has no such plan", c.Plan)
		}
		if err != nil {
			return err
		}
	}
	if c.Create {
		if err := ensureUser(ctx, conn, c.User); err != nil {
			return err
		}
	}
	asked := client.CredentialRequest{Streams: patterns, Until: c.until(now), Publish: c.Publish}
	if c.Address.IsValid() {
		asked.Address = c.Address.String()
	}
	made, err := conn.AddCredentialWithResponse(ctx, c.User, asked)
	if isProblem(err, client.ProblemNotFound) {
		return wrongSetting("there is no user %q: --create makes one", c.User)
	}
	if err != nil {
		return err
	}
	issued, err := answered(made.JSON201, func(c *client.NewCredential) bool { return c.ID != "" })
	if err != nil {
		return err
	}
	if c.Plan != "" {
		if _, err := conn.AddEntitlementWithResponse(ctx, c.User, client.EntitlementRequest{Plan: c.Plan, Until: c.until(now)}); err != nil {
			return err
		}
	}
	if asked.Address != "" {
		_, err = fmt.Fprintf(s.out, "%s is bound to %s\n", c.Address, c.User)
		return err
	}
	_, err = fmt.Fprintln(s.out, issued.Token)
	return err
}

// ensureUser makes a user where there is none, and leaves one that is there as it is.
func ensureUser(ctx context.Context, conn *connection, user string) error {
	none := client.PutUserParamsIfNoneMatch("*")
	_, err := conn.PutUserWithResponse(ctx, user, &client.PutUserParams{IfNoneMatch: &none}, client.UserChange{Status: client.Active})
	if isProblem(err, client.ProblemVersionMismatch) {
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
