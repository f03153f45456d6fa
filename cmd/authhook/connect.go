package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"authhook/client"
)

// serviceFlags say what a command works on: a running service, over its API, or else the database itself.
type serviceFlags struct {
	databaseFlags
	Server     string `group:"A running service" placeholder:"URL" help:"Work over the API of the service at this URL, such as http://127.0.0.1:4280, and not on the database."`
	APIKey     string `group:"A running service" placeholder:"KEY" help:"The key of the API to do it with: 'authhook keys add' makes one. The service's admin token is one too."`
	APIKeyFile string `group:"A running service" placeholder:"FILE" help:"A file that holds the key."`
}

// AfterApply refuses flags that contradict each other. What the environment or a settings file says is for every command,
// and is no contradiction: there, a server goes before a database.
func (f *serviceFlags) AfterApply(line *kong.Context) error {
	for _, p := range line.Path {
		if p.Flag == nil || p.Resolved {
			continue
		}
		switch name := p.Flag.Name; name {
		case "database-url", "database-url-file":
			if f.Server != "" {
				return fmt.Errorf("--server and --%s are both set: keep one", name)
			}
		case "api-key", "api-key-file":
			if f.Server == "" {
				return fmt.Errorf("--%s is for --server, which is not set", name)
			}
		}
	}
	return nil
}

// callTime is how long one call of a service may take, above the service's own limit.
const callTime = 30 * time.Second

// connection is what a command works with: the calls of the API, whoever answers them.
type connection struct {
	*client.ClientWithResponses
	// db is the database, where no service is asked.
	db    database
	close func() error
}

// Close ends the connection.
func (c *connection) Close() error { return c.close() }

// connect opens what the flags name. A database is opened as the command says; what it does there is what a service would
// do with its calls.
func (f *serviceFlags) connect(ctx context.Context, open func(context.Context) (database, error)) (*connection, error) {
	return f.connectTrying(ctx, open, func(database) tries { return nil })
}

// connectTrying is connect for a command that knows how billing events are read: on a database, it says what they would change.
func (f *serviceFlags) connectTrying(ctx context.Context, open func(context.Context) (database, error), with func(database) tries) (*connection, error) {
	if f.Server != "" {
		return f.call()
	}
	db, err := open(ctx)
	if err != nil {
		return nil, err
	}
	direct, token, err := answerFrom(db, with(db))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c := &connection{db: db, close: db.Close}
	if c.ClientWithResponses, err = client.New("http://database", token, client.WithHTTPClient(refusals{client.Refusals(direct), f})); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return c, nil
}

// call makes the connection to a running service. Nothing is sent yet.
func (f *serviceFlags) call() (*connection, error) {
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(f.Server)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, wrongSetting("--server is no URL of a service: write it like http://127.0.0.1:4280")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, wrongSetting("--server is to be a URL without user, query and fragment: the key goes into --api-key-file")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	sender := &http.Client{
		Transport: transport, Timeout: callTime,
		// Followed, a POST would become a GET on the way.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c := &connection{close: func() error { transport.CloseIdleConnections(); return nil }}
	c.ClientWithResponses, err = client.New(f.Server, key, client.WithHTTPClient(refusals{client.Refusals(sender), f}))
	return c, err
}

// key is the key of the API.
func (f *serviceFlags) key() (string, error) {
	key, err := secretFrom("api-key", f.APIKey, f.APIKeyFile)
	switch {
	case err != nil:
		return "", err
	case key == "":
		return "", wrongSetting("--server needs a key: give --api-key-file, or AUTHHOOK_API_KEY. Beside the service's database, 'authhook keys add' makes one")
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", wrongSetting("%s is no key: it holds characters that no key has", f.keyName())
	}
	return key, nil
}

// keyName says where the key comes from, which is all that is ever shown of it.
func (f *serviceFlags) keyName() string {
	if f.APIKeyFile != "" {
		return "the key in --api-key-file " + f.APIKeyFile
	}
	return "the key of --api-key (AUTHHOOK_API_KEY)"
}

// refusals says of every call that fails what is wrong, and what to do.
type refusals struct {
	next  client.HttpRequestDoer
	flags *serviceFlags
}

// Do sends a request.
func (d refusals) Do(r *http.Request) (*http.Response, error) {
	answer, err := d.next.Do(r)
	if err == nil {
		return answer, nil
	}
	var p *client.Problem
	if errors.As(err, &p) {
		return nil, d.flags.refused(p)
	}
	if d.flags.Server == "" {
		return nil, err
	}
	return nil, d.flags.unreached(r.Context(), err)
}

// refusal is a problem of the API as the command line says it. A command may look for the problem in it.
type refusal struct {
	says    error
	problem *client.Problem
}

func (e *refusal) Error() string { return e.says.Error() }

// Unwrap is what it says, which knows the exit code, and the problem.
func (e *refusal) Unwrap() []error { return []error{e.says, e.problem} }

// refused says what a problem is, and whether it is for who gave the command to mend.
func (f *serviceFlags) refused(p *client.Problem) error {
	text := describeProblem(p)
	switch p.Type {
	case client.ProblemUnauthenticated:
		text = fmt.Sprintf("%s is not good at %s: beside its database, 'authhook keys list' says which are, and 'authhook keys add' makes one",
			f.keyName(), f.Server)
	case client.ProblemForbidden:
		text = fmt.Sprintf("%s does not permit it: %s", f.keyName(), text)
	case client.ProblemSlowDown, client.ProblemInternal, client.ProblemUnavailable:
		return &refusal{fmt.Errorf("the service at %s: %s", f.Server, text), p}
	}
	return &refusal{&settingError{text}, p}
}

// describeProblem is what this problem is, and not what its kind is called, where both are said.
func describeProblem(p *client.Problem) string {
	var parts []string
	if p.Detail != "" {
		parts = append(parts, p.Detail)
	}
	for _, e := range p.Errors {
		text := strings.TrimSpace(e.Field + " " + e.Problem)
		if e.Line > 0 {
			text = fmt.Sprintf("line %d: %s", e.Line, text)
		}
		parts = append(parts, text)
	}
	if parts == nil {
		return p.Title
	}
	return strings.Join(parts, "\n")
}

// unreached says why a service could not be asked.
func (f *serviceFlags) unreached(ctx context.Context, err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	var name *net.DNSError
	var other *client.AnswerError
	var slow net.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers at %s: is 'authhook serve' running there?", f.Server)
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("--server %s: there is no host %s", f.Server, name.Name)
	case errors.As(err, &other) && other.Location != "":
		return fmt.Errorf("%s sends callers on to %s: give --server as it is there", f.Server, other.Location)
	case errors.As(err, &other):
		return fmt.Errorf("what answers at %s is no authhook, or cannot reach it: %w", f.Server, other)
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Errorf("no answer from %s within %s: whether it was done is not known", f.Server, callTime)
	}
	return fmt.Errorf("%s cannot be asked: %w", f.Server, err)
}

// answered is the body of an answer, where it is one that the contract has for a success: is says so of something that such
// a body never lacks.
func answered[T any](body *T, is func(*T) bool) (*T, error) {
	if body == nil || !is(body) {
		return nil, errors.New("what answered is no authhook, or one of another version: --server is to be its URL")
	}
	return body, nil
}

// isProblem says whether a call failed with a problem of a kind.
func isProblem(err error, kind client.ProblemType) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Type == kind
}
