// Package custom makes a [billing.Provider] of any billing system that sends JSON, by configuration: how it signs, where in a
// body its id, type and time stand, and what its events are in authhook's own types (package events).
//
// [Parse] reads the configuration, a YAML file of which examples/billing.yaml shows everything. Presets for known systems are
// files in the same language ([Preset]); what stands beside a preset takes the place of what it says.
//
// A body's events become [events.Event]s, so that the same rules hold for them as for authhook's own. What a customer of the
// provider can write must not say what was bought: a configuration that takes a plan or a price from such a field sells
// everything for nothing. The presets take prices alone from what the provider itself says.
package custom
