package experiments

import "fmt"

// Unable is the error of a testbed that cannot inject an Experiment, however
// often it is asked: it does not know the kind, or its kernel lacks something.
// Any other failure to inject may be somebody's mistake.
type Unable struct{ Reason string }

func (u *Unable) Error() string { return u.Reason }

// UnableTo makes an Unable, as fmt.Errorf makes an error.
func UnableTo(format string, args ...any) error { return &Unable{fmt.Sprintf(format, args...)} }
