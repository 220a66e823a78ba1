"""Stories to write. No text is the right one."""

from reasoning_lab.data.example import Example
from reasoning_lab.rewards.lint.problem import Answer, Problem


def _problem(question: str, first: Answer, second: Answer, wrong: str) -> Problem:
    example = Example(question, "lint", "creative", question, None, "", "", kind="open")
    return Problem(example, (first, second), wrong)


PROBLEMS = (
    _problem(
        "Write a short story about a lighthouse keeper who finds a letter in a bottle.",
        Answer(
            "The main character is Ada, an old lighthouse keeper who has not left her rock for "
            "years. Her motivation is loneliness, though she would never admit it. The conflict "
            "begins because the letter in the bottle was written by a child on the mainland, and "
            "answering it means going ashore. The tone should stay quiet and a little funny, with "
            "the sea in every paragraph.",
            "Ada counted the waves before breakfast, as she had done for eleven years. On the "
            "morning after the storm, number forty brought a green bottle to her door. She nearly "
            'threw it back.\n\nThe letter inside was written in crayon. "Dear keeper," it said, '
            '"does your lamp ever get tired? Mine does. Yours, Tom, harbour street."\n\nAda read '
            "it twice and then climbed all ninety steps to look at the lamp. It did seem tired. "
            "So, she noticed, did the woman in its glass. She found paper, but no stamp, and no "
            "postman had ever come to the rock. There was only the boat under its cover, and the "
            "mainland, lying there like a question. By noon she was rowing badly and singing "
            "worse. The waves went uncounted for once.",
        ),
        Answer(
            "My protagonist is Bruno, a young keeper in his first winter. He wants to be brave "
            "like his father, who kept the same lighthouse before him. The bottle holds a letter "
            "in his father's hand, so the past comes back to him. Therefore the story turns from "
            "fear to trust. The style is plain and the pacing slow until the lamp goes out.",
            "The bottle had been in the wall all along. Bruno found it behind a loose stone, on "
            "the night when the wind put out the lamp for the third time. Rolled up in it was a "
            'letter, and he knew the handwriting.\n\n"Son," wrote his father, "if you read this, '
            "you have been knocking on walls. I did so too. I was afraid every winter I spent "
            'here. Nobody brave ever kept a light; brave men sail past it."\n\nBelow stood a list '
            "of what to do when the oil freezes. Bruno laughed so loudly that a gull answered. He "
            "warmed the can under his coat, trimmed the wick and struck a match with fingers that "
            "shook. Far out, a ship changed her course. He put the letter back, added a line of "
            "his own, and closed the wall with care.",
        ),
        "The lighthouse keeper found a letter.",
    ),
    _problem(
        "Tell a story in which a robot gardener and a stubborn goat become friends.",
        Answer(
            "The robot is called Fennel and its motivation is perfect order: each row of cabbages "
            "must be straight. The goat, Duchess, wants cabbages too, which is the conflict. They "
            "become friends because a flood threatens the garden and only a goat can find the way "
            "uphill. The mood is playful, with short sentences and dry jokes.",
            "Fennel measured its cabbages every hour. At nine there were sixty. At ten there were "
            'fifty-nine and a goat.\n\n"This is a garden," said the robot. Duchess chewed. "You '
            'are not on the planting plan." Duchess chewed on the planting plan.\n\nIt went on '
            "like this until the river rose. Brown water crept between the rows, and Fennel, whose "
            "wheels hated mud, sent an alarm to a farmhouse where nobody was home. Something "
            "pulled at its arm. The goat had the sleeve of its rain cover between her teeth. She "
            "dragged, it rolled, and stone by stone they climbed an old path that stood on no map. "
            'From the top they watched the cabbages float away like green hats. "Fifty-nine," '
            "said Fennel. It planted one more that spring, outside the fence, with a label.",
        ),
        Answer(
            "I want the goat to tell it, a proud old character who thinks that she owns the hill. "
            "The problem is that a gardener made of tin keeps repairing the fence she breaks. She "
            "starts to like it when winter comes, because it never gives up either. The voice is "
            "grumpy, and the ending should feel warm.",
            "I broke the fence on Monday, as usual. By Tuesday the tin thing had mended it. I "
            "broke it again, and it mended it again, humming.\n\nNow, I am a goat of some years, "
            "and I have outlasted two dogs and a vicar. No gardener was going to outlast me. "
            "All summer we kept at it: my horns, its hammer. It never once raised its voice. It "
            'only said "good morning" and picked up the nails.\n\nThen the snow came early. I '
            "found the robot standing in the beans with frost on its eyes, quite still, one nail "
            "left in its hand. I have my pride, but a hill is dull without an enemy. I lay down "
            'against its cold side until the sun was up and the humming began. "Good morning," it '
            "said. I broke the fence gently that day.",
        ),
        "A robot and a goat were friends.",
    ),
)
