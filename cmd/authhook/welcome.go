package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
)

// writeWelcome says what to do next: how to see an answer, and what to put into MistServer.
func writeWelcome(w io.Writer, cfg *serviceSettings, address string) {
	url := "http://" + reachable(address) + "/trigger"
	key := ""
	if cfg.triggerKey != "" { // known to who set it, and to nobody who reads over a shoulder
		url += "/KEY"
		key = " (KEY stands for your trigger key)"
	}
	_, _ = fmt.Fprintf(w, `authhook %s answers on %s

Try it%s: this is what a MistServer asked when a viewer opened the stream "extra".

  printf 'extra\n127.0.0.1\nyan\nMP4\nhttp://127.0.0.1:8080/extra.mp4?rate=1&tkn=yan\n%s\nfalse' |
    curl -s --data-binary @- -H 'X-Trigger: USER_NEW' %s

Then let MistServer ask: put this into the "triggers" of its configuration. The default
denies while authhook is away; without one MistServer lets everybody in.

  %s

A key for a user who has bought the plan "gold":

  %s token alice --create --plan gold --for 720h
`, version, address, key, recordedSession(), url, triggerEntry(url), os.Args[0])
	writeBillingWelcome(w, names(cfg.providers.served), "http://"+reachable(address))
}

// writeBillingWelcome says where billing systems report. They come from elsewhere, so the host is for the operator to say.
func writeBillingWelcome(w io.Writer, served []string, url string) {
	if len(served) == 0 {
		return
	}
	_, _ = fmt.Fprint(w, "\nBilling systems report here, behind an address of yours that they can reach over https:\n\n")
	for _, name := range served {
		_, _ = fmt.Fprintf(w, "  %s/billing/%s\n", url, name)
	}
}

// reachable is an address that a media server on this machine can use: one that listens everywhere is no address to ask.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// recordedSession is the session id in the recording USER_NEW.http: SHA-256 of stream, address and token.
func recordedSession() string {
	ip := netip.MustParseAddr("127.0.0.1").As16()
	sum := sha256.Sum256([]byte("extra" + string(ip[:]) + "yan"))
	return hex.EncodeToString(sum[:])
}

// triggerEntry is what goes into MistServer's configuration.
func triggerEntry(url string) string {
	type entry struct {
		Handler string   `json:"handler"`
		Sync    bool     `json:"sync"`
		Default string   `json:"default"`
		Streams []string `json:"streams"`
	}
	gate := []entry{{Handler: url, Sync: true, Default: "false", Streams: []string{}}}
	tell := []entry{{Handler: url, Sync: false, Default: "", Streams: []string{}}}
	text, err := json.Marshal(map[string][]entry{"USER_NEW": gate, "CONN_PLAY": gate, "STREAM_PUSH": gate, "USER_END": tell})
	if err != nil {
		return err.Error()
	}
	return string(text)
}
