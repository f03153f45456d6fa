package admin

import (
	"encoding/base64"
	"encoding/json"
)

// A cursor is where a page ended: the last item's key, with the list's name, so that one list's cursor is not taken for
// another's. It is not secret, and not signed: it picks nothing that a caller may not see.

const cursorForm = "is no cursor of this list: send the next of the page before"

// cursorAfter writes the cursor that follows a key.
func cursorAfter(list string, key ...string) string {
	text, err := json.Marshal(append([]string{list}, key...))
	if err != nil {
		panic(err) // texts can be written
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// readCursor reads the key of so many parts out of a list's cursor; empty parts when there is none.
func readCursor(list, cursor string, parts int) ([]string, error) {
	if cursor == "" {
		return make([]string, parts), nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	var key []string
	if err == nil {
		err = json.Unmarshal(text, &key)
	}
	if err != nil || len(key) != parts+1 || key[0] != list {
		return nil, invalid("cursor", cursorForm)
	}
	return key[1:], nil
}

// defaultLimit is how many items a page has when nobody says.
const defaultLimit = 100

func limitOf(limit LimitParam) int {
	if limit == 0 {
		return defaultLimit
	}
	return limit
}

// page turns what the store listed into items and the cursor of the next page. A page that is full may have one after it.
func page[S, I any](stored []S, limit int, item func(*S) I, next func(*S) string) (items []I, cursor string) {
	items = make([]I, len(stored))
	for i := range stored {
		items[i] = item(&stored[i])
	}
	if len(stored) >= limit {
		cursor = next(&stored[len(stored)-1])
	}
	return items, cursor
}
