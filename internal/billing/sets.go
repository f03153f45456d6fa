package billing

// sets are disjoint sets of names: joining two puts their sets together.
type sets map[string]string

// root is the name that stands for a name's set.
func (s sets) root(name string) string {
	up, ok := s[name]
	if !ok || up == name {
		s[name] = name
		return name
	}
	top := s.root(up)
	s[name] = top
	return top
}

func (s sets) join(a, b string) { s[s.root(a)] = s.root(b) }
