// Command mistserver-standin takes MistServer's place in scripts/compose-test, where no image of it can be had.
//
// As MistController it reads a MistServer configuration, listens where MistServer does, and lets each viewer in or not
// as the USER_NEW handler of that configuration answers, be it an executable or a URL. With the argument "ask" it asks
// what a real MistServer asked (internal/mist/recording), with another token, and prints the answer. It must never be
// part of an image for use: it serves no media, and knows one trigger.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"authhook/internal/mist"
	"authhook/internal/mist/recording"
)

// patience is how long MistServer waits for an answer, once; the real one asks five times.
const patience = 5 * time.Second

const trigger = "USER_NEW"

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "ask" {
		err = ask(ctx, os.Args[2:])
	} else {
		err = control(ctx, os.Args[1:])
	}
	if err != nil {
		log.Fatal("mistserver-standin: ", err)
	}
}

// configuration is what it reads of MistServer's.
type configuration struct {
	Config struct {
		Triggers map[string][]handler `json:"triggers"`
	} `json:"config"`
}

type handler struct {
	Handler string `json:"handler"`
	Default string `json:"default"`
}

func readConfiguration(path string) (handler, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return handler{}, err
	}
	var c configuration
	if err := json.Unmarshal(data, &c); err != nil {
		return handler{}, fmt.Errorf("%s: %w", path, err)
	}
	if n := len(c.Config.Triggers[trigger]); n != 1 {
		return handler{}, fmt.Errorf("%s has %d handlers of %s, not one", path, n, trigger)
	}
	return c.Config.Triggers[trigger][0], nil
}

// ask fires one recorded trigger, changed as the flags say, and prints the answer.
func ask(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("ask", flag.ExitOnError)
	name := flags.String("recording", trigger+".info-request", "the recording")
	token := flags.String("token", "", "the viewer's token in place of the recorded one")
	handlerURL := flags.String("http", "", "ask this URL, and not the configured handler")
	file := flags.String("c", "/config/config.json", "MistServer's configuration")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h, err := readConfiguration(*file)
	if err != nil {
		return err
	}
	if *handlerURL != "" {
		h.Handler = *handlerURL
	}
	v, err := recorded(*name)
	if err != nil {
		return err
	}
	if *token != "" {
		v.url = strings.Replace(v.url, url.QueryEscape(v.token), url.QueryEscape(*token), 1)
		v.token = *token
	}
	answer, err := h.fire(ctx, v)
	if err != nil {
		return err
	}
	fmt.Println(answer)
	return nil
}

// viewer is the parameters of a USER_NEW that its session id is not made of by itself.
type viewer struct {
	stream, address, token, connector, url string
}

func recorded(name string) (viewer, error) {
	r, err := recording.Read(name)
	if err != nil {
		return viewer{}, err
	}
	lines := strings.Split(string(r.Body), "\n")
	if r.Type != trigger || len(lines) != 7 {
		return viewer{}, fmt.Errorf("recording %s is no plain %s", name, trigger)
	}
	return viewer{lines[0], lines[1], lines[2], lines[3], lines[4]}, nil
}

func (v viewer) payload() (string, error) {
	address, err := netip.ParseAddr(v.address)
	if err != nil {
		return "", err
	}
	id := mist.SessionID(mist.DefaultSessionMode, v.stream, address, v.token, v.connector)
	return strings.Join([]string{v.stream, v.address, v.token, v.connector, v.url, id, "false"}, "\n"), nil
}

// fire asks a handler as MistServer does. No answer is the default.
func (h handler) fire(ctx context.Context, v viewer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	payload, err := v.payload()
	if err != nil {
		return "", err
	}
	call := h.run
	if strings.HasPrefix(h.Handler, "http://") {
		call = h.post
	}
	answer, err := call(ctx, rand.Text(), payload)
	if err != nil {
		log.Printf("%s: %v; the default is %q", trigger, err, h.Default)
		return h.Default, nil
	}
	return answer, nil
}

func (h handler) run(ctx context.Context, id, payload string) (string, error) {
	var out bytes.Buffer
	c := exec.CommandContext(ctx, h.Handler, trigger)
	c.Env = append(os.Environ(), "MIST_TRIGGER="+trigger, "MIST_TUUID="+id, "MIST_TRIG_DEF="+h.Default, "MIST_INSTANCE=standin")
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(payload), &out, os.Stderr
	if err := c.Run(); err != nil {
		return "", err
	}
	return out.String(), nil
}

func (h handler) post(ctx context.Context, id, payload string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Handler, strings.NewReader(payload))
	if err != nil {
		return "", err
	}
	r.Close = true
	for name, value := range map[string]string{
		"Content-Type": "text/plain", "X-Trigger": trigger, "X-Trigger-UUID": id, "X-Instance": "standin", "X-Attempt": "1",
	} {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode/100 != 2 {
		err = errors.Join(err, errors.New(answer.Status))
	}
	return string(text), err
}

// control listens where MistServer does, until it is told to end.
func control(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("MistController", flag.ExitOnError)
	file := flags.String("c", "config.json", "MistServer's configuration")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h, err := readConfiguration(*file)
	if err != nil {
		return err
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:4242")
	if err != nil {
		return err
	}
	failed := make(chan error, 4)
	go func() { failed <- answerDatagrams(udp) }()
	listen := func(address string, page http.HandlerFunc) {
		s := &http.Server{Addr: address, Handler: page, ReadHeaderTimeout: patience}
		go func() { failed <- s.ListenAndServe() }()
	}
	listen(":4242", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the interface\n") })
	listen(":8080", h.play)
	log.Print("mistserver-standin: ready")
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// answerDatagrams is the UDP API: an answer means received.
func answerDatagrams(c net.PacketConn) error {
	buffer := make([]byte, 2048)
	for {
		_, from, err := c.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo([]byte(`{"LTS":1}`), from); err != nil {
			log.Print(err)
		}
	}
}

// play lets a viewer in, or not: GET /hls/STREAM/index.m3u8?tkn=TOKEN.
func (h handler) play(w http.ResponseWriter, r *http.Request) {
	stream, ok := strings.CutPrefix(r.URL.Path, "/hls/")
	stream, isPlaylist := strings.CutSuffix(stream, "/index.m3u8")
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if !ok || !isPlaylist || err != nil {
		http.NotFound(w, r)
		return
	}
	token := r.URL.Query().Get("tkn")
	if token == "" {
		token = "4711" // MistServer makes one up
	}
	answer, err := h.fire(r.Context(), viewer{stream, from.Addr().Unmap().String(), token, "HLS", "http://" + r.Host + r.URL.String()})
	if err != nil || answer != "true" {
		http.Error(w, "denied", http.StatusForbidden)
		return
	}
	_, _ = io.WriteString(w, "#EXTM3U\n")
}
