package catalog

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"authhook/internal/credential"
	"authhook/internal/policy"
)

// How long a secret may be, in bytes. An HS256 key shorter than its hash can be guessed (RFC 7518, 3.2).
const (
	minSecretLength = 32
	maxSecretLength = 4096
)

// redacted stands where a secret was. It can be installed by no mistake: it is shorter than every secret.
const redacted = "(redacted)"

// jwt reads which tokens are accepted.
func (r *reader) jwt(v value) policy.JWT {
	var j policy.JWT
	r.object(v, fields{
		"keys":     func(v value) { j.Keys = r.jwtKeys(v) },
		"jwks_url": r.jwksURL(&j.JWKSURL),
		"issuer":   r.phrase(&j.Issuer),
		"audience": r.phrase(&j.Audience),
	})
	return j
}

// jwtKeys reads the keys. A token names its key by kid, so that no two may have the same, or none.
func (r *reader) jwtKeys(v value) []policy.JWTKey {
	var keys []policy.JWTKey
	seen := map[string]int{}
	r.list(v, func(v value) {
		before := len(r.errs)
		k, given := r.jwtKey(v)
		if len(r.errs) == before { // whether it can be used is for those to say who use it
			if err := credential.CheckKey(k); err != nil {
				r.fail(v, "%s", err)
			}
		}
		at, named := given["kid"]
		if !named {
			at = v
		}
		switch first, twice := seen[k.KID]; {
		case named && k.KID == "": // and that was said
		case twice && k.KID == "":
			r.fail(at, "has no kid, like the key in line %d: give each a kid, so that a token can name its key", first)
		case twice:
			r.fail(at, "the key in line %d has this kid already: give each its own", first)
		default:
			seen[k.KID] = at.node.Line
		}
		keys = append(keys, k)
	})
	return keys
}

// jwtKey reads one key. What is wrong with it is said without its content.
func (r *reader) jwtKey(v value) (policy.JWTKey, map[string]value) {
	var k policy.JWTKey
	given := r.object(v, fields{
		"kid": r.word(&k.KID),
		"alg": choice(r, &k.Alg, "HS256", "RS256", "ES256", "EdDSA"),
		"secret": func(v value) {
			if s, v, ok := r.text(v, aText); ok {
				k.Secret = r.checkedSecret(v, s)
			}
		},
		"secret_env":  func(v value) { k.Secret = r.secretEnv(v) },
		"secret_file": func(v value) { k.Secret = r.secretFile(v) },
		"public_key":  func(v value) { k.PublicKey = r.publicKey(v) },
	}, need{"alg", "write HS256, RS256, ES256 or EdDSA"})
	secrets := present(given, "secret", "secret_env", "secret_file")
	switch {
	case k.Alg == "":
	case k.Alg == "HS256":
		if len(secrets) == 0 {
			r.fail(v, "HS256 needs a secret: write secret_env, secret_file or secret")
		}
		if len(secrets) > 1 {
			r.fail(given[secrets[1]], "the key has %s already: remove one", secrets[0])
		}
		if at, ok := given["public_key"]; ok {
			r.fail(at, "HS256 is verified with a secret: remove the public key, or correct alg")
		}
	default:
		if _, ok := given["public_key"]; !ok {
			r.fail(v, "%s needs public_key: write the public key as PEM", k.Alg)
		}
		for _, s := range secrets {
			r.fail(given[s], "%s is verified with a public key: remove the secret, or correct alg", k.Alg)
		}
	}
	return k, given
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secretEnv reads a secret from the environment.
func (r *reader) secretEnv(v value) string {
	name, v, ok := r.text(v, aText)
	switch {
	case !ok:
		return ""
	case r.getenv == nil:
		r.fail(v, "a catalog that was sent cannot refer to this machine's environment: write secret")
		return ""
	case !envName.MatchString(name):
		r.fail(v, "is not the name of an environment variable: write a name like JWT_SECRET, not the secret itself")
		return ""
	}
	secret := r.getenv(name)
	if secret == "" {
		r.fail(v, "the environment variable %s is not set or empty: set it", called(name))
		return ""
	}
	return r.checkedSecret(v, secret)
}

// secretFile reads a secret from a file. A line break at its end is not part of the secret: editors and echo add one.
func (r *reader) secretFile(v value) string {
	path, v, ok := r.text(v, aText)
	if !ok {
		return ""
	}
	if r.readFile == nil {
		r.fail(v, "a catalog that was sent cannot refer to this machine's files: write secret")
		return ""
	}
	data, err := r.readFile(r.relative(path))
	if err != nil {
		reason := "it is not readable"
		var pathErr *fs.PathError
		switch {
		case errors.Is(err, fs.ErrNotExist):
			reason = "there is no such file"
		case errors.Is(err, fs.ErrPermission):
			reason = "permission denied"
		case errors.As(err, &pathErr):
			reason = pathErr.Err.Error()
		}
		r.fail(v, "the file %s cannot be read (%s): correct the path, which is relative to the catalog, or the file", called(path), reason)
		return ""
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" {
		r.fail(v, "the file %s is empty: write the secret into it", called(path))
		return ""
	}
	return r.checkedSecret(v, secret)
}

// called is a name in a message, when it is too short to be a secret that was written there by mistake.
func called(name string) string {
	if len(name) >= minSecretLength {
		return "that is named here"
	}
	return name
}

// checkedSecret is a secret that is good enough; else it notes why not, and is empty.
func (r *reader) checkedSecret(v value, secret string) string {
	switch {
	case secret == redacted:
		r.fail(v, "was left out when this catalog was written: put the secret back, or name it with secret_env or secret_file")
	case len(secret) < minSecretLength:
		r.fail(v, "the secret has %d bytes, HS256 needs %d or more: make one with openssl rand -hex 32", len(secret), minSecretLength)
	case len(secret) > maxSecretLength:
		r.fail(v, "the secret is longer than %d bytes: make one with openssl rand -hex 32", maxSecretLength)
	case !utf8.ValidString(secret) || textProblem(secret, maxSecretLength, true) != "":
		r.fail(v, "the secret holds bytes that are no text, or a line break: make one with openssl rand -hex 32")
	default:
		return secret
	}
	return ""
}

// publicKey reads a public key as PEM, and writes it the way PEM is usually written. Whether it fits the algorithm is
// for the verifier to say.
func (r *reader) publicKey(v value) string {
	text, v, ok := r.text(v, aText)
	if !ok {
		return ""
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		r.fail(v, "is not PEM: write the whole block from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----, indented after public_key: |")
	case strings.Contains(block.Type, "PRIVATE"):
		r.fail(v, "is a private key, which must not be here: write the public key (openssl pkey -in key.pem -pubout) and replace the pair")
	case block.Type != "PUBLIC KEY":
		r.fail(v, "is another kind of PEM: write a block PUBLIC KEY (openssl pkey -pubout writes it)")
	case len(block.Bytes) == 0:
		r.fail(v, "is a PEM block with nothing in it: write the public key")
	case strings.TrimSpace(string(rest)) != "":
		r.fail(v, "has something behind the key: write one key here, and further ones as keys of their own")
	default:
		return string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	return ""
}

// jwksURL reads where keys are fetched. Over plain HTTP anybody on the way could put in a key of their own.
func (r *reader) jwksURL(dst *string) func(value) {
	return func(v value) {
		s, v, ok := r.text(v, aText)
		if !ok {
			return
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Hostname() == "" || textProblem(s, maxTextLength, false) != "":
			r.fail(v, "is not a URL: write it like https://id.example.com/.well-known/jwks.json")
		case u.User != nil:
			r.fail(v, "has a user or password in it, which would be shown and logged: remove it")
		case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
			*dst = s
		default:
			r.fail(v, "must be https (http is for a loopback address): whoever can change the answer can sign tokens")
		}
	}
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}
