package signature

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	minSecret  = 16 // bytes of a key. An empty one verifies everything (CVE-2026-41432); a short one can be guessed
	maxSecret  = 4096
	standard   = "whsec_"
	makeSecret = "take the provider's, or make one with openssl rand -hex 32"
)

// ordinals name the secrets of a list. There are as many as there may be secrets, for each costs a hash of every request.
var ordinals = [...]string{"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"}

// Secrets are what a provider signs with: one, and while it is changed several, each as good as the others. The zero value
// verifies nothing. However it is printed, the secrets are not.
type Secrets struct {
	// list is a function, for of these fmt prints the address only. It prints bytes, also behind a pointer, and within a
	// struct it cannot always call what would stop it.
	list func() [][]byte
}

func (s Secrets) keys() [][]byte {
	if s.list == nil {
		return nil
	}
	return s.list()
}

// ParseSecrets reads secrets whose text is the key, as of Stripe and Paddle, and for [HMAC] and [Static]: 1 to 8, between
// commas, each of 16 to 4096 bytes that are not all the same; spaces around each are no part of it. So a secret holds no
// comma, nor characters that cannot be seen. The error says which one is wrong and what to do, and never holds a part of it.
func ParseSecrets(list string) (Secrets, error) {
	return parse(list, func(text string) ([]byte, error) { return []byte(text), nil })
}

// ParseStandardSecrets reads a list as [ParseSecrets] does, of secrets in the form of Standard Webhooks: whsec_ and the key
// in base64, padded or not. Of the key at least 16 bytes are needed. With whole the text itself is the key, prefix
// included, as of older Polar endpoints.
func ParseStandardSecrets(list string, whole bool) (Secrets, error) {
	if whole {
		return ParseSecrets(list)
	}
	return parse(list, func(text string) ([]byte, error) {
		rest, ok := strings.CutPrefix(text, standard)
		if !ok {
			return nil, errors.New("does not begin with " + standard + ": copy it whole, or say that the whole text is the key")
		}
		encoding := base64.RawStdEncoding
		if strings.Contains(rest, "=") {
			encoding = base64.StdEncoding
		}
		key, err := encoding.DecodeString(rest)
		if err != nil {
			return nil, errors.New("is not base64 after " + standard + ": copy it whole, or say that the whole text is the key")
		}
		return key, nil
	})
}

// ParseLogins reads a list as [ParseSecrets] does, of logins for [Basic]: user:password. A user is needed, and 16 bytes of
// password. A user cannot hold a colon.
func ParseLogins(list string) (Secrets, error) {
	return parse(list, func(text string) ([]byte, error) {
		user, password, ok := strings.Cut(text, ":")
		switch {
		case !ok || user == "":
			return nil, errors.New("is no login: write user:password")
		case len(password) < minSecret:
			return nil, errors.New("has a password of less than 16 bytes: make one with openssl rand -hex 32")
		}
		return []byte(text), nil
	})
}

// parse reads a list. The error of key goes on from "the first secret", and never holds a part of the text.
func parse(list string, key func(text string) ([]byte, error)) (Secrets, error) {
	if strings.Count(list, ",") >= len(ordinals) {
		return Secrets{}, fmt.Errorf("there are more than %d secrets: remove those that are not in use any more", len(ordinals))
	}
	var keys [][]byte
	for i, text := range strings.Split(list, ",") {
		k, err := parseOne(strings.TrimSpace(text), key)
		if err != nil {
			return Secrets{}, fmt.Errorf("the %s secret %w", ordinals[i], err)
		}
		keys = append(keys, k)
	}
	return Secrets{list: func() [][]byte { return keys }}, nil
}

func parseOne(text string, key func(text string) ([]byte, error)) ([]byte, error) {
	switch {
	case text == "":
		return nil, errors.New("is empty: " + makeSecret)
	case len(text) > maxSecret:
		return nil, fmt.Errorf("is longer than %d bytes: %s", maxSecret, makeSecret)
	case !visible(text):
		return nil, errors.New("holds a line break, or bytes that are no text: write it again by hand")
	}
	k, err := key(text)
	switch {
	case err != nil:
		return nil, err
	case len(k) < minSecret:
		return nil, fmt.Errorf("is a key of less than %d bytes: %s", minSecret, makeSecret)
	case bytes.Count(k, k[:1]) == len(k): // zeros are the empty key to an HMAC, however many (RFC 2104, 2)
		return nil, errors.New("is one byte over and over: " + makeSecret)
	}
	return k, nil
}

// visible says whether a text is UTF-8 that can be seen; of spaces only the common one can.
func visible(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
