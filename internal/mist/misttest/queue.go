package misttest

// queue holds the triggers that wait until fewer are under way. The real server starts a process for each, of which
// 10,000 at once are as many connections; here a goroutine and a connection are had by so many at a time.
type queue struct {
	jobs    []func()
	head    int
	running int
}

// enqueue has a job run in the background, in its turn. The caller holds the lock.
func (s *Server) enqueue(job func()) {
	q := &s.pending
	if q.running < s.options.Concurrency {
		q.running++
		s.jobs.Go(func() { s.work(job) })
		return
	}
	q.jobs = append(q.jobs, job)
}

// work runs one job after another until none is left.
func (s *Server) work(job func()) {
	for job != nil {
		job()
		s.mu.Lock()
		job = s.pending.next()
		s.mu.Unlock()
	}
}

// next takes the next job; with none, one worker less is running.
func (q *queue) next() func() {
	if q.head == len(q.jobs) {
		q.jobs, q.head = q.jobs[:0], 0
		q.running--
		return nil
	}
	job := q.jobs[q.head]
	q.jobs[q.head] = nil
	q.head++
	return job
}
