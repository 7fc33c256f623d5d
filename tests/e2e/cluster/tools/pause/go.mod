module r3mes/tools/pause

go 1.22
