package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"authhook/internal/catalog"
)

// FuzzParse: whatever is in a document, Parse neither panics nor hangs; its errors are in order and have a line, unless
// the document is too large; and a catalog that it accepts is written and read again without a change.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		for _, data := range documents(f, dir) {
			f.Add(data)
		}
	}
	for _, s := range []string{"streams: &a [*a]", "? ? ?", "!!binary a", "{<<: {}}", "- - -\n", "\"\\ud83d\"", "a: |+\n\n", "%YAML 1.1\n---\nstreams: []", "#\n#", "---", "a: b: c", "\ufeff{}"} {
		f.Add([]byte(s))
	}
	secret := func(string) string { return "a secret of the environment 0123456789" }
	noFile := func(string) ([]byte, error) { return nil, errors.New("no files here") }
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := catalog.Parse("c.yaml", data, catalog.WithEnv(secret), catalog.WithReadFile(noFile))
		if err != nil {
			var errs catalog.Errors
			if !errors.As(err, &errs) || len(errs) == 0 || c != nil {
				t.Fatalf("no errors, or a catalog with them: %v", err)
			}
			last, lines := 1, 1+strings.Count(strings.NewReplacer("\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(data)), "\n")
			for _, e := range errs {
				if len(data) <= catalog.MaxSize && (e.Line < last || e.Line > lines) {
					t.Fatalf("line %d after %d of %d: %v", e.Line, last, lines, e)
				}
				if e.Problem == "" || strings.ContainsAny(e.Error(), "\n\x00") {
					t.Fatalf("not one line: %q", e.Error())
				}
				last = e.Line
			}
			return
		}
		first, err := catalog.Format(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := catalog.Parse("c.yaml", first)
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		second, err := catalog.Format(again)
		if err != nil || string(first) != string(second) {
			t.Fatalf("not stable: %v\n%s\n%s", err, first, second)
		}
	})
}
