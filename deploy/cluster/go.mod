module seatrial/deploy/cluster

go 1.26.0

require (
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.49.0
	seatrial v0.0.0
)

require github.com/spf13/pflag v1.0.10 // indirect

replace seatrial => ../..
