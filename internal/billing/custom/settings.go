package custom

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"authhook/internal/billing"
	"authhook/internal/billing/signature"
)

// providers reads the list of billing systems.
func (r *reader) providers(n *yaml.Node, path string) (list []billing.Provider) {
	lines := map[string]int{}
	r.list(n, path, func(n *yaml.Node, path string) {
		p := r.provider(n, path)
		if first, twice := lines[p.name]; twice && p.name != "" {
			r.fail(n, path, "has the name of the one in line %d: give it another", first)
		}
		lines[p.name] = n.Line
		list = append(list, p)
	})
	return list
}

// standardWebhooks is the scheme of senders of Standard Webhooks.
const standardWebhooks = "standard_webhooks"

// signing is how requests are told to be genuine.
type signing struct {
	scheme string         // hmac, standard_webhooks, static or basic
	hmac   signature.HMAC // for static, its header alone
	whole  bool           // for standard_webhooks: the secret's whole text is the key
}

// forbidden are fields that somebody could think of, and that must not be there.
var forbidden = []string{"secret", "secrets"}

var providerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// provider reads one billing system.
func (r *reader) provider(n *yaml.Node, path string) *provider {
	p := &provider{unit: "minor", decimals: 2, events: map[string]*mapping{}, ignore: map[string]bool{}}
	var preset, env, file string
	settings := r.settings(p)
	settings["name"] = func(n *yaml.Node, path string) {
		switch r.text(&p.name)(n, path); {
		case p.name == "":
		case !providerName.MatchString(p.name):
			r.fail(n, path, "cannot stand in a URL: write up to 64 letters, digits, - and _")
		case p.name == "events" || p.name == "stripe" || p.name == "paddle":
			r.fail(n, path, "is the name of a provider that needs no configuration here: write another")
		}
	}
	settings["preset"] = r.choice(&preset, Presets()...)
	settings["secret_env"], settings["secret_file"] = r.text(&env), r.text(&file)
	for _, field := range forbidden {
		settings[field] = func(n *yaml.Node, path string) {
			r.fail(n, path, "must not stand in the configuration: name the environment variable that holds it with secret_env, or a file with secret_file")
		}
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "preset" {
				r.preset(p, n.Content[i+1].Value)
			}
		}
	}
	if !r.mapping(n, path, settings, "name: write what it is called in /billing/NAME and in the catalog") {
		return p
	}
	switch {
	case p.signs.scheme == "":
		r.fail(n, path, "has no signature: write how its requests are told to be genuine, or a preset")
	case env == "" && file == "":
		r.fail(n, path, "has no secret_env and no secret_file: name where the secret is that its requests are signed with")
	case env != "" && file != "":
		r.fail(n, path, "has a secret_env and a secret_file: remove one")
	default:
		r.secrets(p, n, path, env, file)
	}
	if p.kind == nil {
		r.fail(n, path, "has no type: write where the type of an event stands, like /type")
	}
	if why := withoutEvents[preset]; len(p.events) == 0 && why != "" {
		r.fail(n, path, "has no events, and the preset %s brings none: %s", preset, why)
	} else if len(p.events) == 0 {
		r.fail(n, path, "has no events: write what each type of event is")
	}
	r.complete(p, n, path)
	return p
}

// settings read what a preset can hold too.
func (r *reader) settings(p *provider) known {
	return known{
		"signature":   func(n *yaml.Node, path string) { p.signs = r.signature(n, path) },
		"id":          r.source(&p.id, nameKind),
		"type":        r.source(&p.kind, typeKind),
		"time":        r.source(&p.time, timeKind),
		"user":        r.source(&p.user, nameKind),
		"amount_unit": r.choice(&p.unit, "minor", "major"),
		"decimals": func(n *yaml.Node, path string) {
			const most = 8
			d, err := strconv.Atoi(n.Value)
			if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || d < 0 || d > most {
				r.fail(n, path, "is not a number of decimals: write 0 to %d", most)
				return
			}
			p.decimals = d
		},
		"where": func(n *yaml.Node, path string) { p.where = r.where(n, path) },
		"events": func(n *yaml.Node, path string) {
			r.events(p, n, path)
		},
		"ignore": func(n *yaml.Node, path string) {
			r.list(n, path, func(n *yaml.Node, path string) {
				var kind string
				if r.text(&kind)(n, path); kind != "" {
					p.ignore[kind] = true
					delete(p.events, kind)
				}
			})
		},
	}
}

// signature reads how requests are told to be genuine.
func (r *reader) signature(n *yaml.Node, path string) signing {
	var s signing
	var encoding, hash, signed, tolerance, form string
	r.mapping(n, path, known{
		"scheme":       r.choice(&s.scheme, "hmac", standardWebhooks, "static", "basic"),
		"header":       r.text(&s.hmac.Header),
		"prefix":       r.text(&s.hmac.Prefix),
		"encoding":     r.text(&encoding),
		"hash":         r.text(&hash),
		"signed":       r.text(&signed),
		"time_header":  r.text(&s.hmac.TimeHeader),
		"milliseconds": r.truth(&s.hmac.Milliseconds),
		"tolerance":    r.text(&tolerance),
		"secret_form":  r.choice(&form, "decoded", "text"),
	}, "scheme: write hmac, standard_webhooks, static or basic")
	s.whole = form == "text"
	s.hmac.Encoding, s.hmac.Hash, s.hmac.Signed = signature.Encoding(encoding), signature.Hash(hash), signature.Signed(signed)
	if tolerance != "" {
		d, err := time.ParseDuration(tolerance)
		if s.hmac.Tolerance = d; err != nil || d <= 0 {
			r.fail(n, path, "has a tolerance that is no length of time: write it like 5m")
			return s
		}
	}
	switch {
	case form != "" && s.scheme != standardWebhooks && s.scheme != "":
		r.fail(n, path, "has a secret_form, which only standard_webhooks knows: remove it")
	case s.scheme == "hmac":
		if err := s.hmac.Check(); err != nil {
			r.fail(n, path, "%s", err)
		}
	case s.scheme == "static":
		header := signature.HMAC{Header: s.hmac.Header}
		if s.hmac != header {
			r.fail(n, path, "has settings that only hmac knows: remove all but header")
		} else if err := header.Check(); err != nil {
			r.fail(n, path, "has no header, or one that cannot be: name the header that holds the secret")
		}
	case s.scheme == standardWebhooks && s.hmac != (signature.HMAC{}):
		r.fail(n, path, "has settings that only hmac knows: remove all but scheme and secret_form")
	case s.scheme == "basic" && s.hmac != (signature.HMAC{}):
		r.fail(n, path, "has settings that only hmac knows: remove all but scheme")
	}
	return s
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secrets reads the secrets. Nothing of them is ever in an error, nor what was written where their name should be.
func (r *reader) secrets(p *provider, n *yaml.Node, path, env, file string) {
	list, where := "", "the secret in the environment"
	if env != "" {
		if !envName.MatchString(env) {
			r.fail(n, path, "has a secret_env that is no name of an environment variable: write a name like SHOP_SECRET, not the secret itself")
			return
		}
		if list = r.getenv(env); list == "" {
			r.fail(n, path, "names an environment variable in secret_env that is not set or empty: set it")
			return
		}
	} else {
		where = "the secret in the file"
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(r.file), file)
		}
		data, err := r.readFile(file)
		if err != nil {
			reason := "it is not readable"
			switch {
			case errors.Is(err, fs.ErrNotExist):
				reason = "there is no such file"
			case errors.Is(err, fs.ErrPermission):
				reason = "permission denied"
			}
			r.fail(n, path, "names a secret_file that cannot be read (%s): correct the path, which is relative to this configuration, or the file", reason)
			return
		}
		list = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	}
	parse := signature.ParseSecrets
	switch p.signs.scheme {
	case "basic":
		parse = signature.ParseLogins
	case standardWebhooks:
		parse = func(list string) (signature.Secrets, error) {
			return signature.ParseStandardSecrets(list, p.signs.whole)
		}
	}
	hint := ""
	if p.signs.scheme == standardWebhooks && !p.signs.whole {
		hint = " (with secret_form: text the whole text is the key)"
	}
	var err error
	if p.secrets, err = parse(list); err != nil {
		r.fail(n, path, "%s is not good: %s%s", where, err, hint)
	}
}
