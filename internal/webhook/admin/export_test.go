package admin

// For the fuzz targets.
var (
	ReadCursor  = readCursor
	CursorAfter = cursorAfter
)

// Fits says whether a write with these headers may be done while a version stands.
func Fits(ifMatch, ifNoneMatch string, version int64) (bool, error) {
	p, err := readPrecondition(ifMatch, ifNoneMatch)
	return p.fits(version), err
}
