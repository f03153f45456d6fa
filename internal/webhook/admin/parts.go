package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"authhook/internal/policy"
)

// A plan and a stream policy are parts of the catalog: changing one is putting in force the whole catalog with it
// changed, under the catalog's version.

func (h handlers) ListPlans(ctx context.Context, _ ListPlansRequestObject) (ListPlansResponseObject, error) {
	c, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	items, err := shownAs[Plan](c.Plans)
	return ListPlans200JSONResponse{
		Body: PlanList{Items: items}, Headers: ListPlans200ResponseHeaders{ETag: entityTag(c.Version)},
	}, err
}

func (h handlers) GetPlan(ctx context.Context, r GetPlanRequestObject) (GetPlanResponseObject, error) {
	c, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	i := planIndex(c, r.Plan)
	if i < 0 {
		return nil, noPlan(r.Plan)
	}
	item, err := shown[Plan](c.Plans[i])
	return GetPlan200JSONResponse{Body: item, Headers: GetPlan200ResponseHeaders{ETag: entityTag(c.Version)}}, err
}

func (h handlers) PutPlan(ctx context.Context, r PutPlanRequestObject) (PutPlanResponseObject, error) {
	only, err := readPrecondition(r.Params.IfMatch, string(r.Params.IfNoneMatch))
	if err != nil {
		return nil, err
	}
	if r.Body.Key != "" && r.Body.Key != r.Plan {
		return nil, impossible("key", "is not the one of the path")
	}
	r.Body.Key = r.Plan
	text, err := json.Marshal(r.Body)
	if err != nil {
		return nil, err
	}
	done, err := h.apply(ctx, only, func(stands *policy.Catalog) (*policy.Catalog, error) {
		d := document(stands)
		i := put(&d.Plans, planIndex(stands, r.Plan), text)
		return d.parse(fmt.Sprintf("plans[%d]", i))
	}, func(stands *policy.Catalog) bool { return planIndex(stands, r.Plan) >= 0 })
	if err != nil {
		return nil, err
	}
	item, err := shown[Plan](done.Plans[planIndex(done.Catalog, r.Plan)])
	if done.existed {
		return PutPlan200JSONResponse{Body: item, Headers: PutPlan200ResponseHeaders{ETag: entityTag(done.version)}}, err
	}
	return PutPlan201JSONResponse{Body: item, Headers: PutPlan201ResponseHeaders{ETag: entityTag(done.version)}}, err
}

func (h handlers) RemovePlan(ctx context.Context, r RemovePlanRequestObject) (RemovePlanResponseObject, error) {
	only, err := readPrecondition(r.Params.IfMatch, "")
	if err != nil {
		return nil, err
	}
	_, err = h.apply(ctx, only, func(stands *policy.Catalog) (*policy.Catalog, error) {
		i := planIndex(stands, r.Plan)
		if i < 0 {
			return nil, noPlan(r.Plan)
		}
		d := document(stands)
		d.Plans = slices.Delete(d.Plans, i, i+1)
		return d.parse("")
	}, func(stands *policy.Catalog) bool { return planIndex(stands, r.Plan) >= 0 })
	if err != nil {
		return nil, err
	}
	return RemovePlan204Response{}, nil
}

func (h handlers) ListStreams(ctx context.Context, _ ListStreamsRequestObject) (ListStreamsResponseObject, error) {
	c, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	items, err := shownAs[Stream](c.Streams)
	return ListStreams200JSONResponse{
		Body: StreamList{Items: items}, Headers: ListStreams200ResponseHeaders{ETag: entityTag(c.Version)},
	}, err
}

func (h handlers) GetStream(ctx context.Context, r GetStreamRequestObject) (GetStreamResponseObject, error) {
	c, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	i := streamIndex(c, r.Match)
	if i < 0 {
		return nil, noStream(r.Match)
	}
	item, err := shown[Stream](c.Streams[i])
	return GetStream200JSONResponse{Body: item, Headers: GetStream200ResponseHeaders{ETag: entityTag(c.Version)}}, err
}

func (h handlers) PutStream(ctx context.Context, r PutStreamRequestObject) (PutStreamResponseObject, error) {
	only, err := readPrecondition(r.Params.IfMatch, string(r.Params.IfNoneMatch))
	if err != nil {
		return nil, err
	}
	if r.Body.Match != "" && r.Body.Match != r.Match {
		return nil, impossible("match", "is not the one of the path")
	}
	r.Body.Match = r.Match
	text, err := json.Marshal(r.Body)
	if err != nil {
		return nil, err
	}
	done, err := h.apply(ctx, only, func(stands *policy.Catalog) (*policy.Catalog, error) {
		d := document(stands)
		i := put(&d.Streams, streamIndex(stands, r.Match), text)
		return d.parse(fmt.Sprintf("streams[%d]", i))
	}, func(stands *policy.Catalog) bool { return streamIndex(stands, r.Match) >= 0 })
	if err != nil {
		return nil, err
	}
	item, err := shown[Stream](done.Streams[streamIndex(done.Catalog, r.Match)])
	if done.existed {
		return PutStream200JSONResponse{Body: item, Headers: PutStream200ResponseHeaders{ETag: entityTag(done.version)}}, err
	}
	return PutStream201JSONResponse{Body: item, Headers: PutStream201ResponseHeaders{ETag: entityTag(done.version)}}, err
}

func (h handlers) RemoveStream(ctx context.Context, r RemoveStreamRequestObject) (RemoveStreamResponseObject, error) {
	only, err := readPrecondition(r.Params.IfMatch, "")
	if err != nil {
		return nil, err
	}
	_, err = h.apply(ctx, only, func(stands *policy.Catalog) (*policy.Catalog, error) {
		i := streamIndex(stands, r.Match)
		if i < 0 {
			return nil, noStream(r.Match)
		}
		d := document(stands)
		d.Streams = slices.Delete(d.Streams, i, i+1)
		return d.parse("")
	}, func(stands *policy.Catalog) bool { return streamIndex(stands, r.Match) >= 0 })
	if err != nil {
		return nil, err
	}
	return RemoveStream204Response{}, nil
}

func planIndex(c *policy.Catalog, key string) int {
	return slices.IndexFunc(c.Plans, func(p policy.Plan) bool { return p.Key == key })
}

func streamIndex(c *policy.Catalog, match string) int {
	return slices.IndexFunc(c.Streams, func(s policy.StreamPolicy) bool { return s.Match == match })
}

func noPlan(key string) error { return &missingError{fmt.Sprintf("plan %q", key)} }

func noStream(match string) error { return &missingError{fmt.Sprintf("stream policy %q", match)} }

// put puts a part in its place, or at the end, and says where that is.
func put(list *[]json.RawMessage, i int, part json.RawMessage) int {
	if i < 0 {
		*list = append(*list, part)
		return len(*list) - 1
	}
	(*list)[i] = part
	return i
}

// shown is a part of the catalog as the contract has it: their fields have the same names.
func shown[To, From any](part From) (to To, err error) {
	text, err := json.Marshal(part)
	if err == nil {
		err = json.Unmarshal(text, &to)
	}
	return to, err
}

func shownAs[To, From any](list []From) ([]To, error) {
	items := make([]To, len(list))
	for i := range list {
		var err error
		if items[i], err = shown[To](list[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}
