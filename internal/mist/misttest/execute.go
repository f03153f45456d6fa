package misttest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// execute asks an executable: a bare path, with the type as its only argument, the parameters on its standard input,
// and the answer on its standard output. After 10 s it is stopped, after 14 s killed, and when it has said nothing by
// then, the default counts (source). One that ends in time without a word said nothing: false.
func (s *Server) execute(e *event, h Trigger) (text string, ok bool) {
	command := exec.Command(h.Handler, string(e.kind))
	command.Env = append(os.Environ(),
		"MIST_TRIGGER="+string(e.kind),
		"MIST_TRIG_DEF="+h.Default,
		"MIST_TUUID="+e.uuid,
		"MIST_TIME="+strconv.FormatInt(e.at.UnixMilli(), 10),
		"MIST_DATE="+e.at.UTC().Format(time.RFC1123Z),
		"MIST_PID="+strconv.Itoa(e.pid),
		"MIST_INSTANCE="+e.instance,
	)
	if e.name != "" {
		command.Env = append(command.Env, "MIST_NAME="+e.name)
	}
	var out bytes.Buffer
	command.Stdin = strings.NewReader(e.payload)
	if h.Sync {
		command.Stdout = &out
	}
	// What it started may keep its output open after it was killed.
	command.WaitDelay = max(e.timing.ExecKill-e.timing.ExecStop, time.Millisecond)
	if err := command.Start(); err != nil {
		s.options.Log.Debug("trigger failed", "trigger", e.kind, "error", err)
		return h.Default, false
	}
	ended := make(chan struct{})
	wait := func() bool {
		defer close(ended)
		_ = command.Wait() // its exit code means nothing
		return true
	}
	if !h.Sync {
		s.jobs.Go(func() { wait() })
		s.jobs.Go(func() { e.guard(command.Process, ended, false) })
		return h.Default, true
	}
	late := make(chan bool, 1)
	s.jobs.Go(func() { late <- e.guard(command.Process, ended, true) })
	wait()
	if <-late && out.Len() == 0 {
		return h.Default, false
	}
	return out.String(), true
}

// guard ends what takes too long, and says whether it had to. What nobody waits for may take as long as it likes, while
// the server lives.
func (e *event) guard(p *os.Process, ended <-chan struct{}, limited bool) (late bool) {
	ctx := e.process.alive
	if limited {
		stop, cancel := context.WithTimeout(ctx, e.timing.ExecStop)
		defer cancel()
		select {
		case <-ended:
			return false
		case <-stop.Done():
		}
		if ctx.Err() == nil {
			_ = p.Signal(syscall.SIGTERM)
			kill, cancel := context.WithTimeout(ctx, e.timing.ExecKill-e.timing.ExecStop)
			defer cancel()
			ctx = kill
		}
	}
	select {
	case <-ended:
	case <-ctx.Done():
		_ = p.Kill()
	}
	return true
}
