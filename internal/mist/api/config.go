package api

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
)

// Version is what a MistServer says of its build.
type Version struct {
	Version string `json:"version"` // "3.10"
	Release string `json:"release"`
	Date    string `json:"date"`
	Time    string `json:"time"`
}

// Version asks for it. Its error is as with [Client.Sessions].
func (c *Client) Version(ctx context.Context) (Version, error) {
	reply, err := c.do(ctx, questionOther, map[string]any{"version": true})
	if err != nil {
		return Version{}, c.fault("version", err)
	}
	v, err := parseVersion(reply)
	return v, c.fault("version", err)
}

func parseVersion(reply string) (Version, error) {
	var r struct{ Version *Version }
	if err := json.Unmarshal([]byte(reply), &r); err != nil {
		return Version{}, fmt.Errorf("%w: %w", ErrReply, err)
	}
	if r.Version == nil {
		return Version{}, fmt.Errorf("%w: no version in it", ErrReply)
	}
	return *r.Version, nil
}

// Config is how a MistServer is configured.
type Config struct {
	// Raw is the whole of "config" as MistServer wrote it.
	Raw json.RawMessage
	// ServerName is the configured name, as in the header X-Name; empty when it is unset.
	ServerName string
	// Instance is the id of this server process, as in the header X-Instance (source).
	Instance string
	// SessionMode is the setting sessionViewerMode: which parameters make a viewer's session. -1 when it is not set, which
	// means 14.
	SessionMode int
	// Triggers are all triggers by type.
	Triggers map[string][]Trigger
	// Streams are the configured streams by name, each as MistServer wrote it; nil where the build does not tell.
	Streams map[string]json.RawMessage
}

// Config asks for it. The reply holds secrets too, accounts and keys: nothing of those is kept, but [Config.Raw] and
// [Config.Streams] may hold an operator's own, such as a password in a source's URL. Its error is as with
// [Client.Sessions].
func (c *Client) Config(ctx context.Context) (Config, error) {
	// The call "streams" would delete them all. "config_backup" lists them, among other things (source).
	reply, err := c.do(ctx, questionConfig, map[string]any{"config": true, "config_backup": true})
	if err != nil {
		return Config{}, c.fault("configuration", err)
	}
	config, err := parseConfig(reply)
	return config, c.fault("configuration", err)
}

func parseConfig(reply string) (Config, error) {
	var r struct {
		Config json.RawMessage `json:"config"`
		Backup struct {
			Streams json.RawMessage `json:"streams"`
		} `json:"config_backup"`
	}
	if err := json.Unmarshal([]byte(reply), &r); err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrReply, err)
	}
	config := Config{Raw: r.Config}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.Config, &members); err != nil || members == nil {
		return Config{}, fmt.Errorf("%w: no configuration in it", ErrReply)
	}
	config.ServerName, _ = rawText(members["serverid"])
	config.Instance, _ = rawText(members["iid"])
	if json.Unmarshal(members["sessionViewerMode"], &config.SessionMode) != nil || members["sessionViewerMode"] == nil {
		config.SessionMode = -1
	}
	config.Triggers = readTriggers(members["triggers"])
	if json.Unmarshal(r.Backup.Streams, &config.Streams) != nil {
		config.Streams = nil
	}
	return config, nil
}

// SetTriggers writes all triggers: those that are not among them are gone. So who changes one reads them with
// [Client.Config] first, and writes them all back. Over HTTP where they do not fit a datagram. Where the reply shows other
// triggers than were written, the error matches [ErrReply]; else it is as with [Client.Do]. They last until MistServer
// ends: see [Client.Save].
func (c *Client) SetTriggers(ctx context.Context, triggers map[string][]Trigger) error {
	reply, err := c.do(ctx, questionConfig, map[string]any{"config": map[string]any{"triggers": triggers}})
	if err == nil {
		err = checkTriggers(reply, triggers)
	}
	return c.fault("set triggers", err)
}

// checkTriggers holds the configuration that MistServer replied with, if it did, against what was written.
func checkTriggers(reply string, written map[string][]Trigger) error {
	config, err := parseConfig(reply)
	if err != nil || config.Raw == nil {
		return nil // received, then, and no more is known
	}
	if !reflect.DeepEqual(essence(config.Triggers), essence(written)) {
		return fmt.Errorf("%w: it has other triggers than were written", ErrReply)
	}
	return nil
}

// Save has MistServer write its configuration to its file, so that it lasts. Its error is as with [Client.Do].
func (c *Client) Save(ctx context.Context) error {
	_, err := c.do(ctx, questionOther, map[string]any{"save": true})
	return c.fault("save", err)
}
