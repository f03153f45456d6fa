package webhook_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A trigger is answered without a regular expression, and no URL is parsed for it: what is looked for in one is cut out.
func TestTheHotPathParsesNoURL(t *testing.T) {
	elsewhere := map[string]bool{
		"../credential/jwks.go": true, // parses the setting
		"../credential/url.go":  true, // takes percent signs out of what was cut out: see TestFromURLAllocatesNothing
	}
	for _, dir := range []string{".", "../mist", "../credential", "../policy", "../store/cache", "../enforce", "../logline", "../wire", "../wire/socket"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, dir)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, imported := range file.Imports {
				path, err := strconv.Unquote(imported.Path.Value)
				require.NoError(t, err)
				assert.NotEqual(t, "regexp", path, name)
				assert.False(t, path == "net/url" && !elsewhere[filepath.ToSlash(name)], "%s imports %s", name, path)
			}
		}
	}
}
