package main

import (
	"strings"

	"authhook/internal/webhook"
)

// triggerKeyFrom is the trigger key, given by itself or as a file that holds it; empty where there is none. It is the last
// part of the URL that MistServer asks at.
func triggerKeyFrom(given, file string) (string, error) {
	key, err := secretFrom("trigger-key", given, file)
	if err != nil || key == "" {
		return "", err
	}
	if n := len(key); n < webhook.ShortestTriggerKey || n > webhook.LongestTriggerKey {
		return "", wrongSetting("--trigger-key has %d characters: it needs %d to %d, since MistServer cuts a handler's URL at 127",
			n, webhook.ShortestTriggerKey, webhook.LongestTriggerKey)
	}
	if strings.ContainsFunc(key, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.~", r))
	}) {
		return "", wrongSetting("--trigger-key stands in a URL: use letters, digits and -_.~ only, as 'openssl rand -hex 16' makes")
	}
	return key, nil
}
