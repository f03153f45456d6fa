package billing

// Effect is what an event leaves behind, for tests over the providers' own words.
var Effect = effect
