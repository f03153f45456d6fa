package api

import "slices"

// lanes are commands that wait, in a lane for each session and stream, so that two of one never overtake each other or
// leave together. Lanes that have something to send and nothing under way stand in a row, in the order in which they
// came.
type lanes struct {
	all         map[subject]*lane
	first, last *lane
	waiting     map[Command]struct{}
}

type lane struct {
	subject  subject
	commands []Command
	busy     bool
	next     *lane
}

func newLanes() lanes {
	return lanes{all: make(map[subject]*lane), waiting: make(map[Command]struct{})}
}

// add has a command wait. One that waits already stays where it is; but if another one for the same session or stream
// came after it, it goes behind that, because the last word counts.
func (l *lanes) add(c Command) {
	s := c.subject()
	in := l.all[s]
	if in == nil {
		in = &lane{subject: s}
		l.all[s] = in
	}
	if _, waits := l.waiting[c]; waits {
		if in.commands[len(in.commands)-1] != c {
			in.commands = slices.DeleteFunc(in.commands, func(other Command) bool { return other == c })
			in.commands = append(in.commands, c)
		}
		return
	}
	l.waiting[c] = struct{}{}
	in.commands = append(in.commands, c)
	if len(in.commands) == 1 && !in.busy {
		l.enqueue(in)
	}
}

func (l *lanes) enqueue(in *lane) {
	if l.last == nil {
		l.first = in
	} else {
		l.last.next = in
	}
	l.last = in
}

// take removes the commands for one sending: a run of the row's front that fits limit bytes, or the first alone where it
// does not fit, which tooLong says. Their lanes are busy until they are released.
func (l *lanes) take(limit int) (run []Command, tooLong bool) {
	size := len(`{}`)
	var seen [kinds]bool
	for l.first != nil {
		c := l.first.commands[0]
		n := c.length()
		if !seen[c.Kind] {
			n += c.Kind.length()
		}
		if size+n > limit {
			if len(run) > 0 {
				return run, false
			}
			tooLong = true
		}
		size += n
		seen[c.Kind] = true
		run = append(run, c)
		l.dequeue()
		if tooLong {
			break
		}
	}
	return run, tooLong
}

// dequeue takes the first command of the first lane, which is busy from then on.
func (l *lanes) dequeue() {
	in := l.first
	if l.first = in.next; l.first == nil {
		l.last = nil
	}
	in.next = nil
	in.busy = true
	delete(l.waiting, in.commands[0])
	if in.commands = in.commands[1:]; len(in.commands) == 0 {
		in.commands = nil
	}
}

// release ends what take began.
func (l *lanes) release(run []Command) {
	for _, c := range run {
		in := l.all[c.subject()]
		in.busy = false
		if len(in.commands) > 0 {
			l.enqueue(in)
		} else {
			delete(l.all, in.subject)
		}
	}
}
