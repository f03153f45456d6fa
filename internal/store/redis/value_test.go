package redis

import (
	"flag"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

var update = flag.Bool("update", false, "write testdata anew")

// fill sets every field to something that is not zero.
func fill(v reflect.Value) {
	switch at := v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/32")))
		return
	default:
		_ = at
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.String:
		v.SetString("some \"text\"\n<ß>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 << 53)
	default:
		panic("a field of a kind that is new here: " + v.Type().String())
	}
}

// Every field comes back, also one that is added later. What is written changes only together with format.
func TestDocuments(t *testing.T) {
	var credential policy.Credential
	var user policy.UserFacts
	fill(reflect.ValueOf(&credential).Elem())
	fill(reflect.ValueOf(&user).Elem())

	one, err := encodeCredential(&credential)
	require.NoError(t, err)
	gotCredential, err := decodeCredential(one)
	require.NoError(t, err)
	require.Equal(t, &credential, gotCredential)
	two, err := encodeUser(&user)
	require.NoError(t, err)
	gotUser, err := decodeUser(two, user.User)
	require.NoError(t, err)
	require.Equal(t, &user, gotUser)

	const file = "testdata/format.txt"
	text := credentialKey(policy.HashKey("ak_1")) + "\n" + asOf{7, 0xabc}.header() + string(one) + "\n" +
		userKey("anna") + "\n" + asOf{1 << 53, 1<<64 - 1}.header() + string(two) + "\n" +
		previewKey("user:anna", "live+*") + "\n" + asOf{7, 0xabc}.header() + string(encodeBegan(user.UsedMonth)) + "\n"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "another form needs another format: count it up, then run with -update")

	none, err := encodeCredential(nil)
	require.NoError(t, err)
	gotCredential, err = decodeCredential(none)
	require.NoError(t, err)
	require.Nil(t, gotCredential)
}

func TestKeysDoNotCollide(t *testing.T) {
	seen := map[string][]string{}
	for _, fields := range [][]string{{"user", "a"}, {"use", "ra"}, {"usera"}, {"user", "a", ""}, {"", "user", "a"}, {"user", "", "a"},
		{"user"}, {"user", ""}, {"credential", "a"}, {"user", "a\x00"}} {
		require.Nil(t, seen[hashOf(fields...)], "%q", fields)
		seen[hashOf(fields...)] = fields
	}
	require.NotContains(t, userKey("anna"), "anna")
	require.NotContains(t, leaseField("anna"), "anna")
}

// A mark tells entries apart.
func TestMarks(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)
	base := store.Change{Number: 7, At: at, Kind: store.ChangeUser, Subject: "anna"}
	require.Equal(t, entryAsOf(base), entryAsOf(store.Change{Number: 7, At: at.Local(), Kind: store.ChangeUser, Subject: "anna"}))
	for _, other := range []store.Change{
		{Number: 8, At: at, Kind: store.ChangeUser, Subject: "anna"},
		{Number: 7, At: at.Add(time.Microsecond), Kind: store.ChangeUser, Subject: "anna"},
		{Number: 7, At: at, Kind: store.ChangeCredential, Subject: "anna"},
		{Number: 7, At: at, Kind: store.ChangeUser, Subject: "ann"},
		{Number: 7, At: at, Kind: store.ChangeUser + "a", Subject: "nna"},
	} {
		require.NotEqual(t, entryAsOf(base).mark, entryAsOf(other).mark)
	}
	require.Zero(t, entryAsOf(store.Change{}))
}

// Redis may hold anything: reading it neither panics nor makes up facts of somebody else.
func FuzzValue(f *testing.F) {
	var credential policy.Credential
	var user policy.UserFacts
	fill(reflect.ValueOf(&credential).Elem())
	fill(reflect.ValueOf(&user).Elem())
	one, _ := encodeCredential(&credential)
	two, _ := encodeUser(&user)
	for _, document := range [][]byte{one, two, []byte("null"), []byte("{}"), nil} {
		f.Add([]byte(asOf{7, 8}.header() + string(document)))
	}
	f.Add([]byte(asOf{7, 8}.header() + string(encodeBegan(user.UsedMonth))))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, err := parseHeader(b)
		if err != nil {
			return
		}
		if at.number <= 0 {
			t.Fatal("a number that no entry has")
		}
		if c, err := decodeCredential(b[headerSize:]); err == nil && c != nil && c.User == "" {
			t.Fatal("a credential of nobody")
		}
		if u, err := decodeUser(b[headerSize:], "anna"); err == nil && u.User != "anna" {
			t.Fatal("the facts of somebody else")
		}
		if began, err := decodeBegan(b[headerSize:]); err == nil && began.UnixMicro() <= 0 {
			t.Fatal("a preview that began before there were any")
		}
	})
}
